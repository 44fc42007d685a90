package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// oomText is PyTorch's sentence with invented figures.
const oomText = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB of which 1.25 GiB is free. " +
	"Process 4711 has 40.50 GiB memory in use. Including non-PyTorch memory, this process has 37.00 GiB memory in use. Of the allocated memory 36.00 GiB is allocated by PyTorch, " +
	"and 500.00 MiB is reserved by PyTorch but unallocated. If reserved but unallocated memory is large try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation."

// snapshotFile brings a snapshot of exchange's into the test's folder.
func snapshotFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "exchange", "testdata", "snapshot", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestSnapshotCommands: memory snapshots and messages through inspect and doctor, known by their content.
func TestSnapshotCommands(t *testing.T) {
	packed, old := snapshotFile(t, "torch-2.11.pickle.gz"), snapshotFile(t, "torch-2.0.pickle.gz")
	writeSynthetic(t, false)
	write(t, "snapshot.pickle", packed)
	write(t, "old.wscope", old)
	write(t, "cut.pickle", packed[:len(packed)/2])
	write(t, "code.pickle", []byte("\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x04true\x94\x85\x94R\x94."))
	write(t, "other.pickle", []byte("\x80\x02}q\x00X\x01\x00\x00\x00aK\x01s."))
	write(t, "text.pickle", []byte("(S'true'\nios\nsystem\n.")) // of protocol 0: known by its name
	write(t, "message.txt", []byte(oomText))
	for _, c := range []struct {
		args   string
		status int
		stdin  string
		stdout []string
		not    []string
		stderr string
	}{
		{args: "inspect snapshot.pickle", stdout: []string{"Ledger", "By role", "train.py:", "Free memory", "Other settings", "failed: 64 MiB asked"}},
		{args: "inspect snapshot.pickle --memory", stdout: []string{"Ledger", "Growth"}, not: []string{"Free memory"}},
		{args: "inspect snapshot.pickle --fragmentation", stdout: []string{"largest free block", "not predicted"}, not: []string{"Ledger"}},
		{args: "inspect old.wscope", stdout: []string{"Ledger", "not recorded"}},
		{args: "inspect -", stdin: string(packed), stdout: []string{"standard input", "Ledger"}},
		{args: "inspect snapshot.pickle --kernels", status: 2, stderr: "is a PyTorch memory snapshot"},
		{args: "inspect snapshot.pickle --events", status: 1, stderr: "is a PyTorch memory snapshot"},
		{args: "inspect snapshot.pickle --from 1s", status: 2, stderr: "--from and --to do not apply"},
		{args: "inspect train.wscope --fragmentation", status: 1, stderr: "--fragmentation needs a PyTorch memory snapshot"},
		{args: "inspect code.pickle", status: 1, stderr: `opcode STACK_GLOBAL asks for "posix.system"`},
		{args: "inspect other.pickle", status: 1, stderr: "other.pickle: read memory snapshot: not a PyTorch memory snapshot"},
		{args: "inspect cut.pickle", status: 1, stderr: "what is compressed is cut off"},
		{args: "inspect text.pickle", status: 1, stderr: `opcode INST asks for "os.system"`},
		{args: "doctor snapshot.pickle", stdout: []string{"An allocation of 64.0 MiB failed on GPU 0 at train.py:45", "Ruled out", "memory.leak", "Not known"}},
		{args: "doctor snapshot.pickle --message message.txt", stdout: []string{"memory.other-process", "40.5 GiB"}},
		{args: "doctor --message -", stdin: oomText, stdout: []string{"could not get 2.00 GiB on GPU 0", "memory.other-process", "this is not fragmentation", "_record_memory_history"}},
		{args: "doctor --message message.txt --fail-on memory.other-process", status: 3, stdout: []string{"memory.other-process"}},
		{args: "doctor --message message.txt --fail-on memory.leak", stdout: []string{"Ruled out"}},
		{args: "doctor snapshot.pickle --fail-on memory.nothing", status: 2, stderr: "neither a severity"},
		{args: "doctor --message -", stdin: "nothing here", status: 1, stderr: "no message about GPU memory"},
		{args: "doctor --message absent.txt", status: 1, stderr: "absent.txt"},
		{args: "doctor train.wscope --message message.txt", status: 1, stderr: "is no memory snapshot"},
		{args: "doctor - --message -", status: 2, stderr: "only once"},
		{args: "doctor", status: 2, stderr: "is missing"},
	} {
		t.Run(c.args, func(t *testing.T) {
			status, out, errs := world{stdin: []byte(c.stdin), columns: 200}.run(t, strings.Fields(c.args)...)
			if status != c.status {
				t.Errorf("status %d, want %d: %s", status, c.status, errs)
			}
			for _, want := range c.stdout {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in:\n%s", want, out)
				}
			}
			for _, not := range c.not {
				if strings.Contains(out, not) {
					t.Errorf("%q in:\n%s", not, out)
				}
			}
			if !strings.Contains(errs, c.stderr) {
				t.Errorf("no %q on stderr: %s", c.stderr, errs)
			}
		})
	}
}

// TestSnapshotJSON: programs get the figures that people do.
func TestSnapshotJSON(t *testing.T) {
	packed := snapshotFile(t, "torch-2.11.pickle.gz")
	t.Chdir(t.TempDir())
	write(t, "snapshot.pickle", packed)
	status, out, errs := world{}.run(t, "inspect", "--json", "snapshot.pickle")
	if status != 0 {
		t.Fatal(errs)
	}
	var list []struct {
		Now struct {
			Reserved uint64 `json:"reserved_bytes"`
			Live     uint64 `json:"live_bytes"`
		}
		Failures []struct {
			Asked uint64 `json:"asked_bytes"`
		}
		Replay struct{ Refused string }
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].Now.Reserved == 0 || len(list[0].Failures) != 1 || list[0].Failures[0].Asked != 64<<20 || list[0].Replay.Refused == "" {
		t.Errorf("%+v", list)
	}
	status, out, errs = world{}.run(t, "doctor", "--json", "snapshot.pickle")
	var d struct {
		Verdict  string
		Findings []struct{ ID string }
		RuledOut []struct{ ID string } `json:"ruled_out"`
	}
	if err := json.Unmarshal([]byte(out), &d); status != 0 || err != nil || d.Verdict == "" || len(d.RuledOut) == 0 {
		t.Errorf("%d %v %s %+v", status, err, errs, d)
	}
}
