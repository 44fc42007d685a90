// Package cli is warpscope's command line: one file a command, with its flags, their validation
// and the wiring of the packages that do the work.
//
// It owns exit statuses, what goes to stdout (data) and stderr (everything else), and how a
// failure reads: one sentence. It computes nothing. Clock, environment, streams and terminal enter
// through Env, so that tests run whole commands in process. Only cmd/warpscope imports it.
package cli
