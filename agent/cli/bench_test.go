package cli

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warpscope/warpscope/agent/bench"
	"github.com/warpscope/warpscope/agent/bench/result"
	"github.com/warpscope/warpscope/agent/ceilings"
)

// benchEnv is a user with a folder of their own.
func benchEnv(t *testing.T, terminal bool) (*Env, *bytes.Buffer, string) {
	t.Helper()
	home, errs := t.TempDir(), &bytes.Buffer{}
	return &Env{
		Stderr: errs, Environ: []string{"HOME=" + home}, Now: func() time.Time { return time.Unix(100, 0) },
		Terminal: func(io.Writer) (int, bool) { return 100, terminal },
	}, errs, home
}

func TestBenchSavesItsCeilingsByGPU(t *testing.T) {
	env, errs, home := benchEnv(t, false)
	store, err := ceilingStore(env)
	if err != nil {
		t.Fatal(err)
	}
	const uuid = "GPU-12345678-9abc-def0-1234-56789abcdef0"
	r := &result.Result{
		GPU: result.GPU{Name: "GPU", UUID: uuid, Driver: "580.1"},
		Rows: []result.Row{{Suite: "memory", What: "read", Times: result.Times{Median: 1}, Bytes: 3e12, Memory: ceilings.Read,
			Conditions: result.Conditions{Throttled: []string{"power cap"}}}},
	}
	if err := save(env, store, r); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(home, ".config", "warpscope", "ceilings", uuid+".json")); err != nil {
		t.Error(err)
	}
	if text := errs.String(); !strings.Contains(text, "saved 1 ceilings of "+uuid) || !strings.Contains(text, "held its clock down") {
		t.Error(text)
	}
	known, err := store.Of(uuid, "GPU")
	if rate, ok := known.Rate(ceilings.Read); err != nil || !ok || rate != (ceilings.Rate{PerSecond: 3e12, Source: ceilings.Measured}) {
		t.Errorf("%+v, %v", known, err)
	}
	r.GPU.Simulated = true
	if err := save(env, store, r); err == nil || !strings.Contains(err.Error(), "simulated") {
		t.Errorf("rates of the simulated device: %v", err)
	}
	r.GPU.Simulated, r.Rows[0].Failure = false, "wrong"
	if err := save(env, store, r); err == nil || !strings.Contains(err.Error(), "measure no ceiling") {
		t.Errorf("rates of rows that failed: %v", err)
	}
}

func TestCeilingsNeedAFolder(t *testing.T) {
	for _, c := range []struct {
		environ []string
		want    string
	}{
		{[]string{"XDG_CONFIG_HOME=/etc/xdg", "HOME=/root"}, "/etc/xdg/warpscope/ceilings"},
		{[]string{"XDG_CONFIG_HOME=relative", "HOME=/root"}, "/root/.config/warpscope/ceilings"},
		{[]string{"HOME=relative"}, ""},
		{nil, ""},
	} {
		store, err := ceilingStore(&Env{Environ: c.environ})
		if store.Folder != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%v: %q, %v", c.environ, store.Folder, err)
		}
	}
}

func TestBarIsForTerminals(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		env, errs, _ := benchEnv(t, terminal)
		b := newBar(env)
		b.show(bench.Progress{Done: 12, Of: 48, Row: &result.Row{Suite: "matmul", What: "matmul", Shape: "8192³"}})
		b.end()
		text := errs.String()
		if !terminal && text != "" {
			t.Errorf("without a terminal: %q", text)
		}
		if terminal && (!strings.Contains(text, "[██████··················] 12/48") || !strings.HasSuffix(text, "\r\x1b[K")) {
			t.Errorf("%q", text)
		}
	}
}
