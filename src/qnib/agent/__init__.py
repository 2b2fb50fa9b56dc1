"""The agent: sends a machine's numbers, log lines and captures to a QNIB server. Standard library only.

One process, one thread, one poll loop; at most 15 MB of memory and 1 % of a core on a node. Started as
``python3 -m qnib.agent /etc/qnib/agent.json``; `config.py` lists what that file may say.
"""
