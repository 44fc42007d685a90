package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/warpscope/warpscope/agent/doctor"
)

// scenarioDir holds what real runs of scripts/workloads left, made small, with a manifest for each suite.
const scenarioDir = "../../testdata/scenarios"

// The most that fixtures may take, in bytes.
const (
	scenarioLargest = 200_000
	scenarioBudget  = 4 << 20 // two suites
)

// oneOrMore is a string, or a list of strings.
type oneOrMore []string

func (o *oneOrMore) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*o = oneOrMore{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(o))
}

// scenarioTruth is what scripts/workloads/SUITE/truth.json says of a program, as far as a fixture can show it.
type scenarioTruth struct {
	Name     string                     `json:"name"`
	First    oneOrMore                  `json:"first"`
	Then     oneOrMore                  `json:"then"`
	Setup    oneOrMore                  `json:"setup"`
	Ceiling  doctor.Severity            `json:"ceiling"`
	Line     *bool                      `json:"line"`
	Fixture  *bool                      `json:"fixture"`
	Variants map[string]json.RawMessage `json:"variants"`
}

// scenarioFixture is one file, and the lines that were guilty when it was recorded.
type scenarioFixture struct {
	File    string   `json:"file"`
	Program string   `json:"program"`
	Variant int      `json:"variant"`
	Lines   []string `json:"lines"`
	GPU     string   `json:"gpu"`
	Date    string   `json:"date"`
}

func readJSON(t *testing.T, file string, to any) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, to); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// truths returns the programs of a suite, with what a variant overrides.
func truths(t *testing.T, suite string) func(program, variant string) *scenarioTruth {
	t.Helper()
	var all struct {
		Programs []json.RawMessage `json:"programs"`
	}
	readJSON(t, filepath.Join("../../scripts/workloads", suite, "truth.json"), &all)
	return func(program, variant string) *scenarioTruth {
		for _, raw := range all.Programs {
			var truth scenarioTruth
			if err := json.Unmarshal(raw, &truth); err != nil {
				t.Fatal(err)
			}
			if truth.Name != program {
				continue
			}
			if more, ok := truth.Variants[variant]; ok {
				if err := json.Unmarshal(more, &truth); err != nil {
					t.Fatal(err)
				}
			}
			return &truth
		}
		return nil
	}
}

// TestScenarios: traces and snapshots of programs whose trouble is known, as recorded on a GPU, are judged rightly.
func TestScenarios(t *testing.T) {
	manifests, err := filepath.Glob(filepath.Join(scenarioDir, "*.json"))
	if err != nil || len(manifests) == 0 {
		t.Fatalf("no fixtures in %s: %v", scenarioDir, err)
	}
	total := int64(0)
	for _, manifest := range manifests {
		var m struct {
			Suite    string            `json:"suite"`
			Fixtures []scenarioFixture `json:"fixtures"`
		}
		readJSON(t, manifest, &m)
		truth := truths(t, m.Suite)
		if len(m.Fixtures) == 0 {
			t.Errorf("%s names no fixtures", manifest)
		}
		for _, f := range m.Fixtures {
			file, err := filepath.Abs(filepath.Join(scenarioDir, f.File))
			if err != nil {
				t.Fatal(err)
			}
			t.Run(f.File, func(t *testing.T) {
				info, err := os.Stat(file)
				if err != nil {
					t.Fatal(err)
				}
				if total += info.Size(); info.Size() > scenarioLargest || total > scenarioBudget {
					t.Errorf("%d bytes, %d with those before it", info.Size(), total)
				}
				if f.GPU == "" || f.Date == "" {
					t.Error("it does not say where and when it was recorded")
				}
				want := truth(f.Program, string(rune('0'+f.Variant)))
				if want == nil || want.Fixture != nil && !*want.Fixture {
					t.Fatalf("%s has no truth that a file alone can show", f.Program)
				}
				judgeScenario(t, file, f, want)
			})
		}
	}
}

var scenarioPlace = regexp.MustCompile(`\bat ([^\s:,]+\.py:\d+)`)

func judgeScenario(t *testing.T, file string, f scenarioFixture, want *scenarioTruth) {
	t.Helper()
	status, out, errs := world{columns: 200}.run(t, "doctor", "--json", file)
	var d doctor.Diagnosis
	if err := json.Unmarshal([]byte(out), &d); status != 0 || err != nil {
		t.Fatalf("status %d, %v: %s", status, err, errs)
	}
	findings := slices.DeleteFunc(d.Findings, func(f doctor.Finding) bool { return slices.Contains(want.Setup, f.ID) })
	if want.Ceiling != "" {
		for _, f := range findings {
			if f.Severity != doctor.NoteSev {
				t.Errorf("an innocent program, and %s %s: %s", f.Severity, f.ID, f.Title)
			}
		}
		return
	}
	var told []string
	for _, f := range findings {
		told = append(told, string(f.Severity)+" "+f.ID)
	}
	if len(findings) == 0 || !slices.Contains(want.First, findings[0].ID) {
		t.Fatalf("says %v, not %s first; %s", told, strings.Join(want.First, " or "), d.Verdict)
	}
	at := 0
	for _, id := range want.Then {
		next := slices.IndexFunc(findings[at+1:], func(f doctor.Finding) bool { return f.ID == id && f.Severity != doctor.NoteSev })
		if next < 0 {
			t.Fatalf("says %v: no %s behind the first", told, id)
		}
		at += 1 + next
	}
	if want.Line != nil && !*want.Line {
		return
	}
	if got := blamedLine(&findings[0]); !slices.Contains(f.Lines, got) {
		t.Errorf("%s blames %q, not %q", findings[0].ID, got, f.Lines)
	}
}

// blamedLine returns the first line of code that a finding names.
func blamedLine(f *doctor.Finding) string {
	texts := []string{f.Title}
	for _, e := range f.Evidence {
		texts = append(texts, e.What)
	}
	for _, text := range texts {
		if match := scenarioPlace.FindStringSubmatch(text); match != nil {
			return match[1]
		}
	}
	return ""
}
