package trace

import (
	"encoding/json"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fixtures are files of released formats; each is read for ever. A new one is made with
// `go test -run TestFixtures -fixture format-N` and its digest checked in with it.
func TestFixtures(t *testing.T) {
	if name := *newFixture; name != "" {
		file, _ := sample(t, rand.New(rand.NewPCG(2026, 1)), 3, 40)
		if err := os.WriteFile(filepath.Join("testdata", name+".wscope"), file, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join("testdata", name+".digest"), []byte(digest(t, name)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob("testdata/format-*.wscope")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".wscope")
		want, err := os.ReadFile(filepath.Join("testdata", name+".digest"))
		if err != nil {
			t.Fatal(err)
		}
		// Columns that were added since are not in the digest.
		got := "\n" + digest(t, name)
		for line := range strings.Lines(string(want)) {
			if !strings.Contains(got, "\n"+line) {
				t.Errorf("%s: digest has no line %q", f, line)
			}
		}
	}
}

var newFixture = flag.String("fixture", "", "make a fixture of this name, format-N")

// digest says what a fixture holds, a line a column.
func digest(t *testing.T, name string) string {
	t.Helper()
	r, err := Open(filepath.Join("testdata", name+".wscope"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := collect(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	report := r.Report()
	var b strings.Builder
	line := func(name string, v any) {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		h := fnv.New64a()
		_, _ = h.Write(text)
		fmt.Fprintf(&b, "%s %x\n", name, h.Sum64())
	}
	fmt.Fprintf(&b, "report %s\n", report.String())
	line("end", c.summary.End)
	line("recorded", c.summary.Recorded)
	line("losses", c.summary.Losses)
	line("tool", c.provenance.Tool)
	line("command", c.provenance.Command)
	line("strings", c.definitions.Strings)
	for _, l := range c.definitions.Launches {
		line("launch", l.Grid)
	}
	for _, p := range c.definitions.Processes {
		line("process", p.Command)
	}
	for id, batch := range c.batches {
		for _, table := range schema() {
			for _, column := range table.columns {
				values := make([]uint64, table.rows(batch))
				column.cells.load(batch, 0, values)
				line(fmt.Sprintf("process %d kind %d %s %d", id, table.kind, column.name, len(values)), values)
			}
		}
	}
	for i, l := range c.lives {
		line(fmt.Sprintf("live %d of %d at %d", i, l.Process, l.Time), l.Live.Address)
	}
	return b.String()
}
