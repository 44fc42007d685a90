package session

import (
	"strings"
	"testing"
)

func TestIsolatedPython(t *testing.T) {
	for command, want := range map[string]bool{
		"python3 train.py":               false,
		"python3 -I train.py":            true,
		"/usr/bin/python3.12 -uE -m x":   true,
		"python -S train.py":             true,
		"python -u -m torch.run -I":      false,
		"python -c pass -I":              false,
		"python -W ignore -I train.py":   true,
		"python -Wignore -X dev t.py -E": false,
		"python -X importtime=I -E t.py": true,
		"python -XIE t.py":               false,
		"python --version -I":            false,
		"torchrun -I":                    false,
		"python -":                       false,
		"":                               false,
	} {
		if got := isolatedPython(strings.Fields(command)); got != want {
			t.Errorf("%q: %v, want %v", command, got, want)
		}
	}
}
