package analyze

import (
	"testing"

	"github.com/warpscope/warpscope/agent/event"
)

func TestAllocationsAfterEachFailure(t *testing.T) {
	r := newRecorder(event.AllocatorSettings{}, 0)
	fail := func() { r.add(event.TensorOOM, 0, 1<<30, 0, 0) }
	fail()
	r.alloc(1<<20, 0, 0)
	fail()
	fail()
	r.alloc(1<<20, 0, 0)
	r.alloc(1<<20, 0, 0)
	r.s.Devices = []event.DeviceSnapshot{r.d}
	failures := TensorsOf(r.s)[0].Failures
	if len(failures) != 3 || failures[0].After != 3 || failures[1].After != 2 || failures[2].After != 2 {
		t.Errorf("%+v", failures)
	}
}
