package symbols

import (
	"path"
	"strings"
)

// Library returns the short name under which a library is known, from its path: "libtorch_cuda"
// for /…/torch/lib/libtorch_cuda.so, "libnccl" for libnccl.so.2.21.5, "libcudart" for
// libcudart-d0da41ae.so.11.0. A program keeps its file name. "" for an empty path.
func Library(file string) string {
	file = strings.TrimSuffix(file, " (deleted)")
	if file == "" {
		return ""
	}
	name := path.Base(file)
	stem, found := cutExtension(name)
	if !found {
		return name
	}
	for {
		shorter := stem
		// What packagers add: the Python version a module is built for, a wheel's content hash, the
		// version of glibc's own files (libc-2.31.so).
		if dot := strings.LastIndexByte(shorter, '.'); dot > 0 && isPythonTag(shorter[dot+1:]) {
			shorter = shorter[:dot]
		}
		if dash := strings.LastIndexByte(shorter, '-'); dash > 0 && (isHash(shorter[dash+1:]) || isRelease(shorter[dash+1:])) {
			shorter = shorter[:dash]
		}
		if shorter == stem {
			return stem
		}
		stem = shorter
	}
}

// cutExtension cuts name at ".so", if that is its end or a version follows, and with it the version
// that some wheels put before it (libopenblas-0cf96a72.3.23.dev.so).
func cutExtension(name string) (stem string, found bool) {
	for at := strings.LastIndex(name, ".so"); at > 0; at = strings.LastIndex(name[:at], ".so") {
		rest := name[at+len(".so"):]
		if rest != "" && (rest[0] != '.' || !isVersion(rest[1:])) {
			continue
		}
		stem, dev := strings.CutSuffix(name[:at], ".dev")
		for dot := strings.LastIndexByte(stem, '.'); dev && dot > 0 && isVersion(stem[dot+1:]); dot = strings.LastIndexByte(stem, '.') {
			stem = stem[:dot]
		}
		return stem, true
	}
	return name, false
}

// isVersion: digits and dots, beginning with a digit.
func isVersion(s string) bool {
	return s != "" && s[0] >= '0' && s[0] <= '9' && strings.Trim(s, "0123456789.") == ""
}

// isRelease: a version of more than one number, so that the 64 of ld-linux-x86-64 is none.
func isRelease(s string) bool { return isVersion(s) && strings.Contains(s, ".") }

// isHash: eight or more lower-case hexadecimal digits.
func isHash(s string) bool {
	return len(s) >= 8 && strings.Trim(s, "0123456789abcdef") == ""
}

// isPythonTag: cpython-311-x86_64-linux-gnu, abi3, pypy39-….
func isPythonTag(s string) bool {
	return s == "abi3" || strings.HasPrefix(s, "cpython-") || strings.HasPrefix(s, "pypy")
}
