package counts

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const inspected = `{"losses": {"known": true, "lost": 0},
 "kernels": {"all": {"count": 30}, "groups": [{"name": "scale(float*, int)", "count": 10}, {"name": "f<(int)4>()", "count": 20}]},
 "graph_launches": {"count": 5},
 "copies": {"all": {"count": 3}, "groups": [{"kind": "host to device", "count": 2, "bytes": 200}, {"kind": "device to host", "count": 1, "bytes": 7}],
  "sets": [{"count": 4, "bytes": 64}]},
 "memory": {"processes": [{"totals": [{"kind": "device", "allocations": 6, "allocated_bytes": 600, "releases": 5}, {"kind": "host", "allocations": 9}],
  "failures": [{"bytes": 1000, "count": 1}], "failed_calls": 1}]}}`

const countedJSON = `{"kernels": 30, "kernels_by_name": {"scale(float *, int)": 10, "f<4>()": 20, "unused()": 0}, "graph_launches": 5, "graph_nodes": 100,
 "copies": 3, "copies_by_kind": {"HtoD (Pageable -> Device)": {"count": 1, "bytes": 100}, "HtoD (Pinned -> Device)": {"count": 1, "bytes": 100},
 "DtoH (Device -> Pageable)": {"count": 1, "bytes": 7}}, "sets": 4, "set_bytes": 64,
 "allocations": 6, "allocation_bytes": 600, "releases": 5, "failed": 1, "failed_bytes": 1000}`

func TestRun(t *testing.T) {
	tests := []struct {
		name    string
		replace []string // in the inspection
		args    []string
		status  int
		text    string
	}{
		{name: "equal", status: 0, text: "copies host to device"},
		{name: "a kernel less", replace: []string{`"count": 30`, `"count": 29`}, status: 1, text: "DIFFERS  kernels "},
		{name: "a name less", replace: []string{`"count": 20`, `"count": 19`}, status: 1, text: "written differently"},
		{name: "known name, other number", replace: []string{`"count": 10`, `"count": 11`}, status: 1, text: "DIFFERS  kernels scale"},
		{name: "bytes", replace: []string{`"bytes": 200`, `"bytes": 201`}, status: 1, text: "DIFFERS  bytes copied"},
		{name: "lost", replace: []string{`"lost": 0`, `"lost": 1`}, status: 1, text: "DIFFERS  records lost"},
		{name: "losses unknown", replace: []string{`"known": true`, `"known": false`}, status: 1, text: "losses known"},
		{name: "failure forgotten", replace: []string{`"failed_calls": 1`, `"failed_calls": 0`}, status: 1, text: "DIFFERS  failed calls"},
		{name: "twice", args: []string{"-times", "2"}, status: 1, text: "DIFFERS"},
		{name: "node by node", args: []string{"-nodes"}, status: 1, text: "counted            130"},
		{name: "not JSON", replace: []string{`{"losses"`, `losses`}, status: 2, text: "read "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			text := inspected
			if test.replace != nil {
				text = strings.Replace(text, test.replace[0], test.replace[1], 1)
			}
			a, b := filepath.Join(dir, "inspection.json"), filepath.Join(dir, "count.json")
			write(t, a, text)
			write(t, b, countedJSON)
			var out bytes.Buffer
			if status := Run(append(test.args, a, b), &out, &out); status != test.status {
				t.Errorf("status %d, want %d:\n%s", status, test.status, &out)
			}
			if !strings.Contains(out.String(), test.text) {
				t.Errorf("no %q in:\n%s", test.text, &out)
			}
		})
	}
}

func TestNothingToCompareIsAnError(t *testing.T) {
	// Losses are always compared, so an empty pair differs instead of passing silently.
	dir := t.TempDir()
	path := filepath.Join(dir, "empty.json")
	write(t, path, "{}")
	var out bytes.Buffer
	if status := Run([]string{path, path}, &out, &out); status == 0 {
		t.Errorf("two empty files are equal:\n%s", &out)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
