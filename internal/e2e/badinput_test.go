package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// sentence checks that a failure is one that a person can act on: a short message on standard error,
// nothing on standard output, no trace of a crash.
func sentence(t *testing.T, r result, status int, words ...string) {
	t.Helper()
	if r.status != status {
		t.Errorf("exit status %d, want %d", r.status, status)
	}
	text := strings.TrimSpace(r.stderr)
	if text == "" || strings.Count(text, "\n") > 4 {
		t.Errorf("no short message: %q", r.stderr)
	}
	for _, sign := range []string{"panic", "goroutine", "runtime error", "SIGSEGV"} {
		if strings.Contains(r.stderr, sign) {
			t.Errorf("the message shows a crash: %q", r.stderr)
		}
	}
	for _, word := range words {
		if !strings.Contains(r.stderr, word) {
			t.Errorf("the message lacks %q: %q", word, r.stderr)
		}
	}
}

func TestBadCommands(t *testing.T) {
	w := newTool(t)
	full := "/dev/full"
	for _, test := range []struct {
		name   string
		args   []string
		status int
		words  []string
	}{
		{"no program", []string{"run", "-o", "t.wscope"}, 2, nil},
		{"unknown command", []string{"frobnicate"}, 2, []string{"frobnicate"}},
		{"unknown flag", []string{"inspect", "--frobnicate", "x.wscope"}, 2, []string{"frobnicate"}},
		{"unknown mode", []string{"run", "--mode", "everything", "--", "true"}, 2, []string{"everything"}},
		{"program does not exist", []string{"run", "-o", "t.wscope", "--", "/nonexistent/program"}, 127, []string{"/nonexistent/program"}},
		{"trace does not exist", []string{"inspect", "/nonexistent/t.wscope"}, 1, []string{"/nonexistent/t.wscope"}},
		{"trace is a folder", []string{"inspect", w.dir}, 1, []string{w.dir}},
		{"output folder does not exist", []string{"run", "-o", "/nonexistent/t.wscope", "--", "true"}, 1, []string{"/nonexistent"}},
		{"capture does not exist", []string{"recover", "/nonexistent/t.wscap"}, 1, []string{"/nonexistent/t.wscap"}},
		{"capture is no capture", []string{"recover", full}, 1, []string{full}},
		{"bad expression", []string{"inspect", "--name", "(", "t.wscope"}, 2, []string{"("}},
	} {
		t.Run(test.name, func(t *testing.T) {
			sentence(t, w.warpscope(test.args...), test.status, test.words...)
		})
	}
}

// good records a small trace.
func good(t *testing.T, w *tool) []byte {
	t.Helper()
	w.ok("run", "-o", "good.wscope", "--", w.bin, "demo")
	text, err := os.ReadFile(w.path("good.wscope"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestBadTraces(t *testing.T) {
	w := newTool(t)
	whole := good(t, w)
	changed := bytes.Clone(whole)
	changed[len(changed)/3] ^= 0xff
	for _, test := range []struct {
		name    string
		content []byte
	}{
		{"empty", nil},
		{"one byte", whole[:1]},
		{"text", []byte("this is no trace, this is a letter\n")},
		{"zeros", make([]byte, 1<<16)},
		{"ELF", []byte("\x7fELF\x02\x01\x01")},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "bad.wscope")
			if err := os.WriteFile(path, test.content, 0o600); err != nil {
				t.Fatal(err)
			}
			sentence(t, w.warpscope("inspect", path), 1, path)
		})
	}
	// What is damaged but is a trace is read as far as it goes, and says so to people and programs.
	for _, test := range []struct {
		name    string
		content []byte
	}{
		{"header alone", whole[:min(16, len(whole))]},
		{"header, then noise", append(bytes.Clone(whole[:min(16, len(whole))]), bytes.Repeat([]byte{0xff}, 1<<12)...)},
		{"truncated", whole[:len(whole)*2/3]},
		{"last byte missing", whole[:len(whole)-1]},
		{"a byte changed", changed},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "bad.wscope")
			if err := os.WriteFile(path, test.content, 0o600); err != nil {
				t.Fatal(err)
			}
			r := w.warpscope("inspect", "--json", path)
			if r.status == 1 {
				sentence(t, r, 1, path)
				return
			}
			var content struct{ Damage []string }
			if err := json.Unmarshal([]byte(r.stdout), &content); err != nil {
				t.Fatalf("exit status %d, %v: %s", r.status, err, r.stderr)
			}
			if r.status != 0 || len(content.Damage) == 0 {
				t.Errorf("exit status %d, damage %q", r.status, content.Damage)
			}
			if text := w.ok("inspect", path); len(content.Damage) > 0 && !strings.Contains(text, strings.Fields(content.Damage[0])[0]) {
				t.Errorf("the overview does not tell of the damage %q:\n%s", content.Damage, text)
			}
		})
	}
}

func TestTraceFromStandardInput(t *testing.T) {
	w := newTool(t)
	good(t, w)
	r := w.command(nil, "sh", "-c", `"$1" inspect --json - <good.wscope`, "sh", w.bin)
	if r.status != 0 {
		t.Fatalf("exit status %d\n%s", r.status, r.stderr)
	}
	var streamed, filed map[string]any
	if err := json.Unmarshal([]byte(r.stdout), &streamed); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(w.ok("inspect", "--json", "good.wscope")), &filed); err != nil {
		t.Fatal(err)
	}
	delete(streamed, "file")
	delete(filed, "file")
	for name, value := range filed {
		if !reflect.DeepEqual(value, streamed[name]) {
			t.Errorf("%s: from the file %v, from standard input %v", name, value, streamed[name])
		}
	}
}
