// Commands for a shell: what has to be quoted is.

/** Words of a command as one line; those that are null, false or empty are left out. */
export const quoted = (words: (string | null | false | undefined)[]): string =>
  words.filter((w): w is string => typeof w === 'string' && w !== '').map((w) => (/^[\w@%+=:,./-]+$/.test(w) ? w : `'${w.replaceAll("'", `'\\''`)}'`)).join(' ')
