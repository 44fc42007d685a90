package cli_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestRealFailures: diagnoses of real failures (torch 2.11 on an H100), as people see them.
func TestRealFailures(t *testing.T) {
	for _, c := range []struct {
		name   string
		id     string
		says   []string
		silent []string
	}{
		{"oom-plain", "error memory.request", []string{
			"An allocation of 200 GiB failed on GPU 0 at oom.py:19 in <module>", "The request alone is more than the GPU's 79.2 GiB",
			"4 tensors made at oom.py:8 in leak hold 1.00 GiB", "note memory.line", `torch.empty(200 << 30, dtype=torch.uint8, device="cuda")`,
			"beside PyTorch's allocator took 1.08 GiB",
		}, []string{"have no stacks", "No known cause"}},
		{"oom-fraction", "error memory.limit", []string{
			"An allocation of 256 MiB failed on GPU 0 at oom.py:8 in leak", "A limit of the program's own, 3.96 GiB, stopped it: the GPU had 74.9 GiB free",
			"15 tensors made at oom.py:8 in leak hold 3.75 GiB", "set_per_process_memory_fraction", "error memory.line", "called by oom.py:17",
		}, []string{"have no stacks", "No known cause", "error memory.request"}},
		{"oom-caught", "error memory.request", []string{"failed on GPU 0 at oom.py:11 in <module>: PyTorch held nothing"}, []string{"No known cause", "memory.line  error"}},
	} {
		packed := snapshotFile(t, c.name+".pickle")
		for _, columns := range []int{80, 120} {
			t.Run(fmt.Sprintf("%s-%d", c.name, columns), func(t *testing.T) {
				t.Chdir(t.TempDir())
				write(t, "oom.pickle", packed)
				status, out, errs := world{columns: columns}.run(t, "doctor", "oom.pickle")
				if status != 0 || errs != "" {
					t.Fatalf("status %d, %s", status, errs)
				}
				for i, line := range strings.Split(out, "\n") {
					if n := len([]rune(line)); n > columns && !strings.Contains(line, "torch.") && !strings.Contains(line, "warpscope ") {
						t.Errorf("line %d is %d columns wide: %s", i+1, n, line)
					}
				}
				flat := strings.Join(strings.Fields(out), " ")
				for _, want := range append(c.says, c.id) {
					if !strings.Contains(flat, want) {
						t.Errorf("no %q in:\n%s", want, out)
					}
				}
				for _, not := range c.silent {
					if strings.Contains(flat, not) {
						t.Errorf("%q in:\n%s", not, out)
					}
				}
			})
		}
	}
}
