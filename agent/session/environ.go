package session

import (
	"path/filepath"
	"strings"
)

// The variables by which the driver, the dynamic linker and the library learn of a capture.
const (
	injectionVariable = "CUDA_INJECTION64_PATH"
	nvtxVariable      = "NVTX_INJECTION64_PATH"
	preloadVariable   = "LD_PRELOAD"
	socketVariable    = "WARPSCOPE_SOCKET"
)

// libraryName is what the capture library is called wherever it lies.
const libraryName = "libwarpscope.so"

// lookup returns the value of a variable; the last one counts, as for exec.Cmd.
func lookup(environ []string, name string) (string, bool) {
	for i := len(environ) - 1; i >= 0; i-- {
		if key, value, ok := strings.Cut(environ[i], "="); ok && key == name {
			return value, true
		}
	}
	return "", false
}

// with returns environ with the variable set to value, without touching environ.
func with(environ []string, name, value string) []string {
	set := make([]string, 0, len(environ)+1)
	for _, entry := range environ {
		if key, _, ok := strings.Cut(entry, "="); !ok || key != name {
			set = append(set, entry)
		}
	}
	return append(set, name+"="+value)
}

// foreignInjection returns the tool that already holds the driver's injection, "" if none does.
// A library of ours, of whatever version, is no foreigner: that is a run inside a run.
func foreignInjection(environ []string) string {
	path, _ := lookup(environ, injectionVariable)
	if filepath.Base(path) == libraryName {
		return ""
	}
	return path
}

// captureEnviron returns the environment of a program under capture by the library, which
// reaches the agent at socket, and what the user must know about it.
func captureEnviron(environ []string, library, socket string) (set, notes []string) {
	set = with(environ, injectionVariable, library)
	if path, _ := lookup(environ, nvtxVariable); path == "" || filepath.Base(path) == libraryName {
		set = with(set, nvtxVariable, library)
	} else {
		notes = append(notes, nvtxVariable+" already names "+path+": NVTX ranges go there and are not recorded")
	}
	preload, _ := lookup(environ, preloadVariable)
	set = with(set, preloadVariable, appendPreload(preload, library))
	return with(set, socketVariable, socket), notes
}

// appendPreload puts the library behind the user's own preloads, so that theirs keep their
// precedence, and in place of any other copy of it.
func appendPreload(preload, library string) string {
	var entries []string
	for _, entry := range strings.FieldsFunc(preload, preloadSeparator) {
		if filepath.Base(entry) != libraryName {
			entries = append(entries, entry)
		}
	}
	return strings.Join(append(entries, library), ":")
}

// preloadSeparator tells what the dynamic linker splits LD_PRELOAD at.
func preloadSeparator(r rune) bool { return r == ':' || r == ' ' }
