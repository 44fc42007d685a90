package exchange_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/warpscope/warpscope/agent/exchange"
)

// forms are the small trace over many lines, and on one.
func forms(t *testing.T) map[string]string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(strings.Replace(small, "inf,", "1,", 1))); err != nil {
		t.Fatal(err)
	}
	return map[string]string{"many lines": small, "one line": b.String()}
}

// skim reads a trace for its report only.
func skim(text []byte) (exchange.Report, error) {
	_, _, report, err := exchange.ReadKineto(context.Background(), bytes.NewReader(text), &nowhere{}, exchange.Options{})
	return report, err
}

// beginning is how far damage can make a file look like something else.
const beginning = 24

// TestDamageAnywhere damages a trace at every byte: nothing is lost without a word, and never more
// than the events around.
func TestDamageAnywhere(t *testing.T) {
	for name, text := range forms(t) {
		whole := read(t, text).report.Events
		first := strings.Index(text, `"traceEvents"`)
		damages := map[string]func([]byte, int) []byte{
			"without a byte": func(b []byte, i int) []byte { return slices.Delete(b, i, i+1) },
		}
		for _, c := range []byte("\"{}[],:\\\n\x00x0") {
			damages[fmt.Sprintf("with %q", c)] = func(b []byte, i int) []byte {
				b[i] = c
				return b
			}
		}
		for how, damage := range damages {
			for i := range len(text) {
				if how != "without a byte" && i%7 != int(how[len(how)-2])%7 {
					continue // each kind at every seventh byte: they are many
				}
				report, err := skim(damage([]byte(text), i))
				if err != nil {
					if !errors.Is(err, exchange.ErrNotKineto) || i > beginning {
						t.Fatalf("%s, %s at %d: %v", name, how, i, err)
					}
					continue
				}
				lost := int64(whole) - int64(report.Events)
				if lost > 0 && report.Notes() == nil {
					t.Fatalf("%s, %s at %d: %d events are missing, and nothing is said: %s", name, how, i, lost, text[max(i-20, 0):min(i+20, len(text))])
				}
				if lost > 2 && (i < first || i > first+len(`"traceEvents": [`)) {
					t.Fatalf("%s, %s at %d: %d events of %d are lost: %s", name, how, i, lost, whole, text[max(i-20, 0):min(i+20, len(text))])
				}
			}
		}
	}
}

func TestTruncatedAnywhere(t *testing.T) {
	for name, text := range forms(t) {
		text = strings.TrimSpace(text)
		before := uint64(0)
		for i := beginning; i < len(text); i++ {
			report, err := skim([]byte(text[:i]))
			if err != nil || !report.Truncated || report.Damages > 1 {
				t.Fatalf("%s, cut at %d: %v, %+v", name, i, err, report)
			}
			if report.Events < before || report.Events > before+1 {
				t.Fatalf("%s, cut at %d: %d events, %d before", name, i, report.Events, before)
			}
			before = report.Events
		}
		if whole := read(t, text).report.Events; before != whole {
			t.Errorf("%s: %d events of %d before the last byte", name, before, whole)
		}
	}
}

// TestQuotesInNames: PyTorch did not escape them (pytorch#146900). The event cannot be read, all
// others can.
func TestQuotesInNames(t *testing.T) {
	for name, text := range forms(t) {
		for _, bad := range []string{`a {"device": "cpu"} b`, `"`, `a"`, `say "hi"`, `{"ph": "X"}`, `", "`} {
			r := read(t, strings.Replace(text, "ProfilerStep#7", bad, 1))
			if r.report.Damages == 0 || len(r.all().Kernels.Start) != 1 || len(r.all().Calls.Enter) != 3 {
				t.Errorf("%s, %s: %+v", name, bad, r.report)
			}
		}
	}
}

// TestLargeEvent: an event of many MiB is passed over in bounded memory.
func TestLargeEvent(t *testing.T) {
	for name, filler := range map[string]string{
		"a string": `"` + strings.Repeat(`x\"`, 16<<20) + `"`,
		"an array": `[` + strings.Repeat(`[1, "y"], `, 5<<20) + `1]`,
		"space":    strings.Repeat(" ", 40<<20) + "1",
	} {
		text := strings.Replace(small, `"Input Dims": [[8, 16], [16, 4]]`, `"Input Dims": `+filler, 1)
		if len(text) < 10*exchange.MaxValue {
			t.Fatal("it is not large")
		}
		var before, after runtime.MemStats
		data := []byte(text)
		runtime.ReadMemStats(&before)
		r := readWith(data, exchange.Options{Operators: true})
		runtime.ReadMemStats(&after)
		if r.err != nil || r.report.Large != 1 || r.report.Damages != 0 || len(r.all().Kernels.Start) != 1 {
			t.Errorf("%s: %v, %+v", name, r.err, r.report)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 4*exchange.MaxValue {
			t.Errorf("%s: reading it took %d bytes of memory", name, grown)
		}
	}
}

// TestHostile: inputs that are made to be slow or to take much memory.
func TestHostile(t *testing.T) {
	const n = 1 << 20
	for name, text := range map[string]string{
		"open brackets":     `{"traceEvents": ` + strings.Repeat("[", n),
		"open events":       `{"traceEvents": [` + strings.Repeat(`{"ph":`, n),
		"broken events":     `{"traceEvents": [` + strings.Repeat(`{"ph",`, n),
		"events in events":  `{"traceEvents": [` + strings.Repeat(`{"ph":[1,`, n),
		"unclosed events":   `{"traceEvents": [` + strings.Repeat(`{"ph":1,`, n),
		"quotes":            `{"traceEvents": [` + strings.Repeat(`"`, n),
		"backslashes":       `{"traceEvents": [{"ph": "` + strings.Repeat(`\`, 4*n),
		"escapes":           `{"traceEvents": [{"ph": "` + strings.Repeat(`\"                             `, n),
		"late damage":       `{"traceEvents": [` + strings.Repeat(`{"ph": [[[`+strings.Repeat("1,", 2000)+`x`, n/1000),
		"many keys":         `{"traceName": "", ` + strings.Repeat(`"a": 1, `, n),
		"many processes":    `[` + many(n/8, `{"ph":"X","cat":"cuda_runtime","name":"a","pid":%d,"ts":%[1]d,"dur":1}`),
		"many labels":       `[` + many(n/8, `{"ph":"X","cat":"kernel","name":"a","pid":"[%d] 1","ts":%[1]d,"dur":1}`),
		"many categories":   `[` + many(n/8, `{"ph":"X","cat":"c%d","name":"a","pid":1,"ts":1,"dur":1}`),
		"many names":        `[` + many(n/8, `{"ph":"X","cat":"kernel","name":"%d`+strings.Repeat("x", 1000)+`","pid":1,"ts":1,"dur":1}`),
		"many devices":      `{"deviceProperties": [` + many(n/8, `{"id": %d}`) + `], "traceEvents": []}`,
		"many messages":     `{"traceEvents": [], "WARNING": [` + many(n/8, `"%d"`) + `]}`,
		"exponents":         `[{"ph":"X","cat":"kernel","ts":1e` + strings.Repeat("9", n) + `,"dur":1e-999999999999}]`,
		"digits":            `[{"ph":"X","cat":"kernel","ts":` + strings.Repeat("9", n) + `,"dur":0.` + strings.Repeat("0", n) + `1}]`,
		"zeros to the end":  small + strings.Repeat("\x00", 4*n),
		"space to the end":  small + strings.Repeat(" ", 4*n),
		"unknown, unclosed": `{"schemaVersion": 1, "x": [` + strings.Repeat(`"y", `, n),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := skim([]byte(text)); err != nil {
				t.Error(err)
			}
		})
	}
}

func many(n int, format string) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}
