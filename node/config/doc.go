// Package config is the settings of `kelek serve`: one struct, four sources, one view.
//
// What it is. Serve is a kong struct. Its fields are the flags, and by their tags also the
// environment (KELEK_...) and the keys of the configuration file, which has the look of
// redis.conf: `name value` lines, # comments, a value with blanks in double quotes. Settings is
// the same struct as CONFIG GET shows it.
//
// Precedence: flag, environment, file, default. kong by itself lets a file win over the
// environment, since it takes the environment for a default; the resolver in file.go stays silent
// about what the environment has set.
//
// How it works. kong parses the command line; BeforeResolve then reads the file that --config or
// KELEK_CONFIG names and hands its lines to kong as if they were flags, so a value is checked in
// the same way wherever it comes from. Resolve follows when all values are known: it derives the
// addresses that were not given, reads the password and checks what one field alone cannot tell.
//
// Addresses. --peer-listen, --http and --cluster-listen default to the RESP port + 1000, + 2000
// and + 3000 on the host of --listen. What is advertised is what is listened on, unless that is
// every interface: then nobody can guess the name by which others reach this machine, and
// --advertise has to say it. The own line of --peers tells the peer address, since all others
// dial that.
//
// Invariants.
//   - A password is in no flag: it comes from a file or the environment, and Settings has none.
//   - Every error is one line with the name of the setting, its value, the limit and the way out.
//     Error marks it, so that the process ends with the exit code of a wrong configuration.
//   - After a Resolve without error every address in Addresses is complete.
//
// Designs considered. A library for layered configuration (viper and the like) would bring formats
// nobody asked for and hide which source won. Two structs, one for flags and one for the file,
// would drift apart. A flag without effect is worse than none: settings of later features are not
// here before their features are.
//
// What it does not do: reload on a signal, CONFIG REWRITE, and settings that have to be equal on
// all nodes (those are replicated data, not configuration).
package config
