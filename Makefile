# make demo   a cluster with jobs, watched in the browser        make down    end it, leaving nothing running
# make test   all tests, fast ones first                         make clean   also remove the images and what was installed here
.PHONY: help demo down test lint bench clean setup

ROOT := $(if $(filter 0,$(shell id -u)),,sudo -E)
QNIB := $(ROOT) .venv/bin/qnib

help:
	@grep -E '^# make' Makefile | sed 's/^# //'

setup:
	@tools/setup run

demo: setup
	@$(QNIB) serve --background & serving=$$!; \
	state=$$($(QNIB) status --json --name $${QNIB_CLUSTER:-demo} 2>/dev/null | grep -m1 '"state"'); \
	wait $$serving || exit 1; \
	case "$$state" in \
	  *ready*) ;; "") $(QNIB) up --nodes 4 --demo ;; *) $(QNIB) down >/dev/null && $(QNIB) up --nodes 4 --demo ;; esac
	@$(QNIB) tour

down:
	@if [ -x .venv/bin/qnib ]; then $(QNIB) down --all; $(QNIB) stop; else echo "Nothing was set up here."; fi

test:
	@tools/setup test
	@tools/test

lint: setup
	.venv/bin/ruff check src tests bench
	.venv/bin/mypy
	@cd ui && PATH="$$PATH:$$PWD/../.make/tools/bin" npm run --silent check

bench:
	@tools/setup bench
	@for script in bench/*.py; do echo "== $$script"; $(ROOT) .venv/bin/python $$script --quick || exit 1; done

clean: down
	@if [ -x .venv/bin/qnib ]; then $(QNIB) images clean; fi
	@rm -rf .venv .make ui/node_modules src/qnib/web/static
