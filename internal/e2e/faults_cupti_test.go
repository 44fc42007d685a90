package e2e

import (
	"strings"
	"testing"
)

// TestCUPTIFails lets each function of CUPTI that the library calls fail, once or for good. The
// program never notices, and whatever the trace lacks for it, the trace says.
func TestCUPTIFails(t *testing.T) {
	b := newBuild(t)
	program := b.compile("ends")
	for _, test := range []struct {
		fault           string
		kernels, allocs bool   // recorded all the same, every one
		said            string // in a note and as a reason; "": nothing is missing
		missing         string // a kind of records of which there are none
		unknown         bool   // nobody knows how much is missing
	}{
		{"cuptiGetVersion", false, false, "CUPTI lacks a function", "kernels", false},
		{"cuptiSubscribe:1:39", true, false, "another tool holds CUPTI's callbacks", "allocations", false},
		{"cuptiSubscribe:1:12", true, false, "another tool holds CUPTI's callbacks", "allocations", false},
		{"cuptiSubscribe:1:35", true, false, "restricts profiling to administrators", "allocations", false},
		{"cuptiSubscribe", true, false, "would not watch all driver calls", "allocations", false},
		{"cuptiEnableCallback", true, true, "would not watch all driver calls", "", false}, // a call that nobody makes
		{"cuptiEnableCallback:*", true, false, "would not watch all driver calls", "allocations", false},
		{"cuptiEnableCallback:*:35", true, false, "would not watch all driver calls", "allocations", false},
		{"cuptiActivityRegisterCallbacks", false, true, "CUPTI refused activity records", "kernels", false},
		{"cuptiActivityRegisterCallbacks:1:35", false, true, "CUPTI refused activity records", "kernels", false},
		{"cuptiActivityEnable:1", false, true, "CUPTI refused activity records", "kernels", false},
		{"cuptiActivityEnable:1:35", false, true, "restricts profiling to administrators", "kernels", false},
		{"cuptiActivityEnable:2", false, true, "CUPTI refused activity records", "kernels", false},
		{"cuptiActivityEnable:4", false, true, "CUPTI refused activity records", "kernels", false},
		{"cuptiActivityEnable:5", true, true, "refused some kinds of records", "syncs", false},
		{"cuptiActivityEnable:6", true, true, "refused some kinds of records", "", false},
		{"cuptiActivityEnable:*", false, true, "CUPTI refused activity records", "kernels", false},
		{"cuptiActivityEnableDriverApi", true, true, "refused some kinds of records", "", false},
		{"cuptiActivityEnableDriverApi:*", true, true, "refused some kinds of records", "calls", false},
		{"cuptiActivityDisable:*", true, true, "", "", false},
		{"cuptiActivityFlushAll:1", true, true, "", "", false}, // a later one delivers it
		{"cuptiActivityFlushAll:*", false, true, "did not hand over all", "kernels", true},
		{"cuptiActivityGetNextRecord", false, true, "did not hand over all", "kernels", true},
		{"cuptiActivityGetNextRecord:30", false, true, "did not hand over all", "", true},
		{"cuptiActivityGetNextRecord:*", false, true, "did not hand over all", "kernels", true},
		{"cuptiActivityGetNumDroppedRecords:*", true, true, "did not hand over all", "", true},
		{"cuptiGetTimestamp:3", true, true, "", "", false}, // read again
		{"cuptiGetTimestamp:*", true, true, "clock could not be read", "", false},
		{"cuptiGetCallbackName:*", true, false, "would not watch all driver calls", "allocations", false},
		{"cuptiGetContextId:*", true, true, "would not watch all driver calls", "contexts", false},
		{"cuptiGetDeviceId:*", true, true, "", "", false},
		{"cuptiGetStreamIdEx:*", true, true, "", "", false},
		{"cuptiSetThreadIdType", true, true, "", "", false},
		{"cuptiActivitySetAttribute", true, true, "", "", false},
		{"cuptiActivityGetAttribute", true, true, "", "", false},
		{"cuptiActivityGetAttribute:2", true, true, "", "", false},
	} {
		check := func(t *testing.T, w *tool, r result, f *figures) {
			if r.status != 7 {
				t.Errorf("exit status %d\n%s", r.status, r.stderr)
			}
			if f == nil {
				t.Fatalf("no capture file\n%s", r.stderr)
			}
			c := w.tallies()[0]
			if test.kernels {
				sameTimeline(t, f, &c)
			} else if f.recorded("kernels") >= c.launches {
				t.Errorf("%d kernels of %d: the fault had no effect", f.recorded("kernels"), c.launches)
			}
			if test.allocs {
				sameMemory(t, f, &c)
			} else if n := f.recorded("allocations"); n != 0 {
				t.Errorf("%d allocations", n)
			}
			if test.missing != "" && f.recorded(test.missing) != 0 {
				t.Errorf("%d %s", f.recorded(test.missing), test.missing)
			}
			if len(f.Processes) != 1 || (test.said != "") != (len(f.Processes[0].Reasons) > 0) {
				t.Errorf("processes %+v", f.Processes)
			}
			if f.endUnknown() != test.unknown {
				t.Errorf("losses %+v", f.Losses)
			}
		}
		t.Run(test.fault, func(t *testing.T) {
			t.Parallel()
			w := newTool(t)
			r, f := w.trace(b, []string{"WARPSCOPE_SIM_FAIL=" + test.fault}, program, "return", "0")
			check(t, w, r, f)
			if test.said == "" {
				if strings.Contains(r.stderr, "missing") || !strings.Contains(r.stderr, "nothing lost;") {
					t.Errorf("said %q", r.stderr)
				}
				return
			}
			if !f.said(test.said) || !strings.Contains(r.stderr, test.said) || strings.Contains(r.stderr, "nothing lost;") {
				t.Errorf("notes %q, said %q", f.Provenance.Notes, r.stderr)
			}
		})
		t.Run(test.fault+", without the agent", func(t *testing.T) {
			t.Parallel()
			w := newTool(t)
			r, f := w.alone(b, []string{"WARPSCOPE_SIM_FAIL=" + test.fault}, program, "return", "0")
			check(t, w, r, f)
		})
	}
}

// TestDriverFails lets driver calls fail, with each error that the ledger tells apart. The program gets
// its error, the call is in the trace as a failed one, and nothing is live for it.
func TestDriverFails(t *testing.T) {
	b := newBuild(t)
	program := b.compile("ends")
	for _, fault := range []string{"cuMemAlloc_v2:3:2", "cuMemAllocAsync:2:2", "cuMemAlloc_v2:1:999", "cuMemFree_v2:2:1", "cuMemFreeAsync:1:400"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			w := newTool(t)
			r, f := w.trace(b, []string{"WARPSCOPE_SIM_FAIL=" + fault}, program, "return", "0")
			if r.status != 70 { // the test program gives up
				t.Errorf("exit status %d\n%s", r.status, r.stderr)
			}
			c := w.tallies()[0]
			sameMemory(t, f, &c)
			sameTimeline(t, f, &c)
			if len(f.Memory.Processes) != 1 || f.Memory.Processes[0].Failed != 1 || f.Losses.Lost != 0 || f.endUnknown() {
				t.Errorf("memory %+v, losses %+v", f.Memory.Processes, f.Losses)
			}
		})
	}
}

// TestQuestionsFail lets those driver calls fail that the library itself makes, to describe GPUs and pools.
// What they would have said is missing, nothing else.
func TestQuestionsFail(t *testing.T) {
	b := newBuild(t)
	program := b.compile("ends")
	for _, call := range []string{
		"cuDriverGetVersion", "cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetUuid_v2", "cuDeviceGetName",
		"cuDeviceTotalMem_v2", "cuDeviceGetAttribute", "cuDeviceGetDefaultMemPool", "cuMemPoolGetAttribute",
	} {
		for _, code := range []string{"999", "2"} {
			fault := call + ":*:" + code
			t.Run(fault, func(t *testing.T) {
				t.Parallel()
				w := newTool(t)
				r, f := w.trace(b, []string{"WARPSCOPE_SIM_FAIL=" + fault}, program, "return", "0")
				c := w.tallies()[0]
				whole(t, f, &c)
				failed := uint64(0)
				for _, p := range f.Memory.Processes {
					failed += p.Failed
				}
				if r.status != 7 || len(f.Processes) != 1 || len(f.Processes[0].Reasons) != 0 || failed != 0 {
					t.Errorf("exit status %d, %d failed calls, processes %+v", r.status, failed, f.Processes)
				}
			})
		}
	}
}

// TestOwnCallsAreLeftOut: with --api=all each call of the program is recorded, and none of the library's.
func TestOwnCallsAreLeftOut(t *testing.T) {
	b := newBuild(t)
	program := b.compile("ends")
	w := newTool(t)
	r := w.command(w.environ(&build{}), w.bin, w.under(b, []string{"--api", "all"}, nil, program, "return", "0")...)
	w.clean(b, r)
	f, c := w.figures("t.wscope"), w.tallies()[0]
	calls := c.launches + c.copies + c.sets + 1 + 5 // a wait, and five to begin with
	for s := range spaces {
		calls += c.of[s].allocations + c.of[s].releases
	}
	if r.status != 7 || f.recorded("calls") != calls {
		t.Errorf("exit status %d, %d calls of %d", r.status, f.recorded("calls"), calls)
	}
}

// TestCUPTILoses makes CUPTI drop records, lose whole buffers, and give times that cannot be.
func TestCUPTILoses(t *testing.T) {
	b := newBuild(t)
	program := b.compile("ends")
	for _, test := range []struct {
		fault      string
		lost       bool
		incomplete bool
	}{
		{"WARPSCOPE_SIM_DROP=1", true, false},
		{"WARPSCOPE_SIM_DROP=7", true, false},
		{"WARPSCOPE_SIM_LOSE_BUFFER=1", true, false},
		{"WARPSCOPE_SIM_ZERO_TIME=1", false, true},
		{"WARPSCOPE_SIM_ZERO_TIME=5", false, true},
		{"WARPSCOPE_SIM_BACKWARDS=1", false, true},
		{"WARPSCOPE_SIM_BACKWARDS=5", false, true},
	} {
		check := func(t *testing.T, w *tool, r result, f *figures) {
			if r.status != 7 || f == nil {
				t.Fatalf("exit status %d\n%s", r.status, r.stderr)
			}
			c := w.tallies()[0]
			sameMemory(t, f, &c) // callbacks do not go through buffers
			if test.incomplete != (f.Losses.Incomplete > 0) || test.lost != (f.Losses.Lost > 0) || f.endUnknown() {
				t.Errorf("losses %+v", f.Losses)
			}
			if !test.lost {
				sameTimeline(t, f, &c)
				return
			}
			// CUPTI does not say of which kind what it drops is: the sum is right.
			traced := f.recorded("kernels") + f.recorded("copies") + f.recorded("sets") + f.recorded("syncs") + f.recorded("calls") + f.recorded("overheads")
			// One wait, and a call for each of them.
			want := 2 * (c.launches + c.copies + c.sets + 1)
			if got := traced + f.Losses.Lost; got < want || got > want+4 { // and some overheads
				t.Errorf("%d recorded and %d lost, %d counted", traced, f.Losses.Lost, want)
			}
		}
		t.Run(test.fault, func(t *testing.T) {
			t.Parallel()
			w := newTool(t)
			r, f := w.trace(b, []string{test.fault}, program, "return", "0")
			check(t, w, r, f)
			if strings.Contains(r.stderr, "nothing lost") {
				t.Errorf("said %q", r.stderr)
			}
		})
		t.Run(test.fault+", without the agent", func(t *testing.T) {
			t.Parallel()
			w := newTool(t)
			r, f := w.alone(b, []string{test.fault}, program, "return", "0")
			check(t, w, r, f)
		})
	}
}

// TestNewerCUPTI: a version that nobody has seen yet, whose records have grown, and which sends some of a kind
// that is new. All that is known is recorded; how many records were not understood is said.
func TestNewerCUPTI(t *testing.T) {
	b := newBuild(t)
	program := b.compile("ends")
	check := func(t *testing.T, r result, f *figures, c tally) {
		if r.status != 7 || f == nil {
			t.Fatalf("exit status %d\n%s", r.status, r.stderr)
		}
		sameTimeline(t, f, &c)
		sameMemory(t, f, &c)
		unknown := uint64(0)
		for _, row := range f.Losses.Rows {
			if !strings.Contains(row.Cause, "this version does not decode") {
				t.Errorf("lost %+v", row)
			}
			unknown += row.Count
		}
		if unknown < c.launches/5 {
			t.Errorf("%d records of an unknown kind, one behind each fifth was to be expected", unknown)
		}
	}
	t.Run("with the agent", func(t *testing.T) {
		w := newTool(t)
		r, f := w.trace(b, []string{"WARPSCOPE_SIM_NEWER=5"}, program, "return", "0")
		check(t, r, f, w.tallies()[0])
	})
	t.Run("without the agent", func(t *testing.T) {
		w := newTool(t)
		r, f := w.alone(b, []string{"WARPSCOPE_SIM_NEWER=5"}, program, "return", "0")
		check(t, r, f, w.tallies()[0])
	})
}

// TestNoCUPTI: there is none, or what is named as one is something else.
func TestNoCUPTI(t *testing.T) {
	b := newBuild(t)
	program := b.compile("ends")
	for _, test := range []struct{ name, path, said string }{
		{"a file that does not exist", "/nonexistent/libcupti.so", "no libcupti was found"},
		{"a library that is none", "libm.so.6", "CUPTI lacks a function"},
		{"a folder", "/tmp", "no libcupti was found"},
		{"a text", program + ".c", "no libcupti was found"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newTool(t)
			r, f := w.trace(b, []string{"WARPSCOPE_CUPTI=" + test.path}, program, "return", "0")
			if r.status != 7 || !f.said(test.said) || strings.Contains(r.stderr, "nothing lost;") {
				t.Errorf("exit status %d, notes %q\n%s", r.status, f.Provenance.Notes, r.stderr)
			}
			if n := f.recorded("kernels") + f.recorded("allocations"); n != 0 || len(f.Processes) != 1 || f.Processes[0].State != "refused" {
				t.Errorf("%d records, processes %+v", n, f.Processes)
			}
		})
	}
}

// TestOneCallIsUnknown: CUPTI cannot tell the name of one call that takes memory, or will not watch it. What
// that call takes is missing, and the trace says so.
func TestOneCallIsUnknown(t *testing.T) {
	t.Parallel()
	b := newBuild(t)
	program := b.compile("ends")
	// Ids are asked for in order, and 243 is cuMemAlloc_v2's.
	for _, fault := range []string{"cuptiGetCallbackName:243", "cuptiGetCallbackName:243:1"} {
		t.Run(fault, func(t *testing.T) {
			w := newTool(t)
			r, f := w.trace(b, []string{"WARPSCOPE_SIM_FAIL=" + fault}, program, "return", "0")
			c := w.tallies()[0]
			if r.status != 7 || !f.said("would not watch all driver calls") {
				t.Errorf("exit status %d, notes %q", r.status, f.Provenance.Notes)
			}
			if f.of(device).allocations != 0 || f.of(pool) != c.of[pool] {
				t.Errorf("device %+v, pool %+v, counted %+v", f.of(device), f.of(pool), c.of)
			}
			sameTimeline(t, f, &c)
		})
	}
}

// TestTimelineCannotBeResumed: the timeline is to begin later, and then CUPTI refuses.
func TestTimelineCannotBeResumed(t *testing.T) {
	t.Parallel()
	b := newBuild(t)
	program := b.compile("hostile")
	w := newTool(t)
	args := w.under(b, []string{"--start-after", "100ms"}, nil, program, "much", "0", "1500")
	r := w.command(append(w.environ(&build{}), "WARPSCOPE_SIM_FAIL=cuptiActivityEnable:*"), w.bin, args...)
	w.clean(b, r)
	f, c := w.figures("t.wscope"), w.tallies()[0]
	if r.status != 0 || !f.said("CUPTI refused activity records") || f.recorded("kernels") != 0 {
		t.Errorf("exit status %d, %d kernels, notes %q", r.status, f.recorded("kernels"), f.Provenance.Notes)
	}
	sameMemory(t, f, &c)
}
