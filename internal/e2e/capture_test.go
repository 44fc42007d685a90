package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRunCountsWhatTheProgramDid(t *testing.T) {
	w := newTool(t)
	r := w.warpscope("run", "-o", "t.wscope", "--", w.bin, "demo", "--counts", "count.json")
	if r.status != 0 {
		t.Fatalf("exit status %d\n%s", r.status, r.stderr)
	}
	w.same("t.wscope", "count.json")
	_, content := w.inspect("t.wscope")
	if content["simulated"] != true {
		t.Error("the trace does not say that it was made on the simulated device")
	}
	if !strings.Contains(strings.ToLower(w.ok("inspect", "t.wscope")), "simulated") {
		t.Error("the overview does not say that the trace was made on the simulated device")
	}
	info, err := os.Stat(w.path("t.wscope"))
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("the trace has mode %o", mode)
	}
}

func TestInProcessCaptureCountsWhatTheProgramDid(t *testing.T) {
	w := newTool(t)
	w.ok("demo", "--capture", "in-process", "-o", "t.wscope", "--counts", "count.json")
	w.same("t.wscope", "count.json")
}

func TestPreloadAloneThenRecover(t *testing.T) {
	for _, test := range []struct{ name, variable string }{
		{"LD_PRELOAD", "LD_PRELOAD"},
		{"CUDA_INJECTION64_PATH", "CUDA_INJECTION64_PATH"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newTool(t)
			r := w.command([]string{test.variable + "=" + w.library()}, w.bin, "demo", "--counts", "count.json")
			if r.status != 0 {
				t.Fatalf("exit status %d\n%s", r.status, r.stderr)
			}
			found := w.captures()
			if len(found) != 1 {
				t.Fatalf("%d capture files: %v\n%s", len(found), found, r.stderr)
			}
			if info, err := os.Stat(found[0]); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the capture file: %v, %v", info, err)
			}
			w.ok("recover", "-o", "t.wscope", found[0])
			w.same("t.wscope", "count.json")
		})
	}
}

func TestChildrenAreInTheSameTrace(t *testing.T) {
	w := newTool(t)
	script := `sh -c '"$1" demo --counts count.json' sh "$1"; "$1" demo --counts count.json`
	r := w.warpscope("run", "-o", "t.wscope", "--", "sh", "-c", script, "sh", w.bin)
	if r.status != 0 {
		t.Fatalf("exit status %d\n%s", r.status, r.stderr)
	}
	w.same("t.wscope", "count.json", "-times", "2")
}

func TestLedgerModeRecordsNoKernels(t *testing.T) {
	w := newTool(t)
	w.ok("run", "-o", "t.wscope", "--mode", "ledger", "--", w.bin, "demo", "--counts", "count.json")
	_, content := w.inspect("t.wscope")
	for _, row := range content["records"].([]any) {
		if row.(map[string]any)["kind"] == "kernels" {
			t.Errorf("ledger mode recorded kernels: %v", row)
		}
	}
	if content["memory"] == nil {
		t.Error("ledger mode recorded no memory")
	}
}

// TestKilledProgramKeepsWhatWasPublished ends a running program with SIGKILL.
func TestKilledProgramKeepsWhatWasPublished(t *testing.T) {
	w := newTool(t)
	c := exec.Command(w.bin, "run", "-o", "t.wscope", "--", "sh", "-c", `echo $$ >pid; exec "$1" demo --steps 1000000`, "sh", w.bin)
	c.Dir, c.Env = w.dir, w.env
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	pid := w.waitForPID(c)
	w.waitForKernels()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // its status is the program's
	if got := status(c.ProcessState); got != 128+int(syscall.SIGKILL) {
		t.Errorf("exit status %d", got)
	}
	_, content := w.inspect("t.wscope")
	if n := kernels(content); n == 0 {
		t.Error("no kernel was kept")
	}
	if !endMissing(content) {
		t.Errorf("the trace does not say that its end is missing: %v", content["losses"])
	}
}

// TestKilledAgentKeepsTheFileAndTheProgram ends the agent with SIGKILL.
func TestKilledAgentKeepsTheFileAndTheProgram(t *testing.T) {
	w := newTool(t)
	c := exec.Command(w.bin, "run", "-o", "t.wscope", "--", "sh", "-c", `echo $$ >pid; exec "$1" demo --steps 1000000`, "sh", w.bin)
	c.Dir, c.Env = w.dir, w.env
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	pid := w.waitForPID(c)
	w.waitForKernels()
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	if err := syscall.Kill(pid, 0); err != nil {
		t.Errorf("the program did not survive the agent: %v", err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
		t.Error(err)
	}
	_, content := w.inspect("t.wscope")
	if n := kernels(content); n == 0 {
		t.Error("no kernel is in the file")
	}
}

// waitForKernels waits until kernels are in the trace, t.wscope, which is being written.
func (w *tool) waitForKernels() {
	w.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		r := w.warpscope("inspect", "--json", "--kernels", "t.wscope")
		var content map[string]any
		if r.status == 0 && json.Unmarshal([]byte(r.stdout), &content) == nil && kernels(content) > 0 {
			return
		}
	}
	w.t.Fatal("no kernel was written while the program ran")
}

// waitForPID waits until the program has written its PID.
func (w *tool) waitForPID(c *exec.Cmd) int {
	w.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		text, err := os.ReadFile(w.path("pid"))
		if err != nil || !strings.HasSuffix(string(text), "\n") {
			continue
		}
		pid := 0
		for _, digit := range strings.TrimSpace(string(text)) {
			pid = pid*10 + int(digit-'0')
		}
		return pid
	}
	_ = c.Process.Kill()
	w.t.Fatal("the program did not start")
	return 0
}

// endMissing says whether a trace declares that a process ended before CUPTI handed over all it had.
func endMissing(content map[string]any) bool {
	losses, _ := content["losses"].(map[string]any)
	rows, _ := losses["rows"].([]any)
	for _, r := range rows {
		if row, _ := r.(map[string]any); row["unknown"] == true {
			return true
		}
	}
	return false
}

func kernels(content map[string]any) float64 {
	k, _ := content["kernels"].(map[string]any)
	all, _ := k["all"].(map[string]any)
	n, _ := all["count"].(float64)
	return n
}
