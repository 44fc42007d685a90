package cuda

import (
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"
	"unsafe"
)

// ptx holds two small kernels: fill writes value + index, cluster writes its block's index. Written by hand.
const ptx = `.version 7.0
.target sm_80
.address_size 64

.visible .global .align 4 .u32 counter;

.visible .entry fill(.param .u64 out, .param .u32 value, .param .u32 n)
{
  .reg .pred p;
  .reg .b32 i, v, n0, t, b, d;
  .reg .b64 o, a;
  ld.param.u64 o, [out];
  ld.param.u32 v, [value];
  ld.param.u32 n0, [n];
  mov.u32 t, %tid.x;
  mov.u32 b, %ctaid.x;
  mov.u32 d, %ntid.x;
  mad.lo.s32 i, b, d, t;
  setp.ge.u32 p, i, n0;
  @p bra done;
  add.u32 v, v, i;
  mul.wide.u32 a, i, 4;
  add.u64 a, o, a;
  cvta.to.global.u64 a, a;
  st.global.u32 [a], v;
done:
  ret;
}
`

// session is what the topics share: a device, its context, a stream and a kernel.
type session struct {
	d      *Driver
	device Device
	ctx    *Context
	stream *Stream
	module *Module
	fill   *Function
}

// exercise calls everything that the package offers, topic by topic, and fails if it left out a call.
func exercise(t *testing.T, d *Driver) {
	called := countCalls(d)
	device, err := d.Device(0)
	must(t, err)
	testDevice(t, d, device)
	ctx, err := device.PrimaryContext()
	must(t, err)
	s := &session{d: d, device: device, ctx: ctx}
	topics := []struct {
		name string
		run  func(*testing.T, *session)
	}{
		{"contexts", testContexts}, {"modules", testModules}, {"launches", testLaunches}, {"memory", testMemory},
		{"host memory", testHostMemory}, {"pools", testPools}, {"physical memory", testPhysical}, {"copies", testCopies},
		{"sets", testSets}, {"streams and events", testStreams}, {"graphs", testGraphs}, {"tensor maps", testTensorMaps}, {"errors", testErrors},
	}
	must(t, ctx.Do(func() (err error) {
		s.stream, err = d.NewStream(StreamConfig{NonBlocking: true})
		must(t, err)
		s.module, err = d.LoadModule([]byte(ptx))
		must(t, err)
		s.fill, err = s.module.Function("fill")
		must(t, err)
		return nil
	}))
	for _, topic := range topics {
		t.Run(topic.name, func(t *testing.T) {
			must(t, ctx.Do(func() error {
				topic.run(t, s)
				return nil
			}))
		})
	}
	must(t, ctx.Do(func() error { return errors.Join(s.stream.Close(), s.module.Close()) }))
	must(t, ctx.Close())
	must(t, ctx.Close())
	var never []string
	for name, n := range called {
		if *n == 0 {
			never = append(never, name)
		}
	}
	slices.Sort(never)
	if len(never) > 0 && !t.Failed() {
		t.Errorf("calls that no test makes: %v", never)
	}
}

// countCalls puts a counter before every driver call.
func countCalls(d *Driver) map[string]*int {
	called := make(map[string]*int)
	topics := reflect.ValueOf(&d.fn).Elem()
	for i := range topics.NumField() {
		fields := topics.Field(i)
		for j := range fields.NumField() {
			field := fields.Type().Field(j)
			n := new(int)
			called[field.Tag.Get("cuda")] = n
			slot := reflect.NewAt(field.Type, unsafe.Pointer(fields.Field(j).UnsafeAddr())).Elem()
			call := reflect.ValueOf(slot.Interface())
			slot.Set(reflect.MakeFunc(field.Type, func(in []reflect.Value) []reflect.Value {
				*n++
				return call.Call(in)
			}))
		}
	}
	// Open made these two before anybody could count.
	*called["cuInit"], *called["cuDriverGetVersion"] = 1, 1
	return called
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func testDevice(t *testing.T, d *Driver, v Device) {
	n, err := d.DeviceCount()
	must(t, err)
	name, err := v.Name()
	must(t, err)
	uuid, err := v.UUID()
	must(t, err)
	bus, err := v.PCIBusID()
	must(t, err)
	total, err := v.TotalMemory()
	must(t, err)
	major, minor, err := v.ComputeCapability()
	must(t, err)
	if n < 1 || v.Ordinal() != 0 || name == "" || uuid == (UUID{}) || bus == "" || total == 0 || major < 5 || minor < 0 {
		t.Errorf("device: count %d, ordinal %d, name %q, uuid %v, bus %q, memory %d, capability %d.%d", n, v.Ordinal(), name, uuid, bus, total, major, minor)
	}
	if len(uuid.String()) != len("GPU-00000000-0000-0000-0000-000000000000") {
		t.Errorf("uuid reads %q", uuid)
	}
	if warp, err := v.Attribute(WarpSize); err != nil || warp != 32 {
		t.Errorf("warp size %d, %v", warp, err)
	}
	if _, err := v.CanAccess(v); err != nil {
		t.Error(err)
	}
	if d.Version() < 11000 || d.Path() == "" {
		t.Errorf("driver version %d at %q", d.Version(), d.Path())
	}
	t.Logf("%s (%s, %s), %d.%d, %d MiB, driver %s", name, uuid, bus, major, minor, total>>20, versionText(d.Version()))
}

func testContexts(t *testing.T, s *session) {
	if current, err := s.ctx.IsCurrent(); err != nil || !current {
		t.Errorf("inside Do the context is current: %v, %v", current, err)
	}
	if v, err := s.d.CurrentDevice(); err != nil || v.Ordinal() != s.ctx.Device().Ordinal() {
		t.Errorf("current device %v, %v", v, err)
	}
	if active, err := s.device.PrimaryActive(); err != nil || !active {
		t.Errorf("primary context active: %v, %v", active, err)
	}
	if id, err := s.ctx.ID(); err != nil || id == 0 {
		t.Errorf("context id %d, %v", id, err)
	}
	other, err := s.device.NewContext()
	must(t, err)
	if current, err := s.ctx.IsCurrent(); err != nil || !current {
		t.Errorf("a new context does not become current: %v, %v", current, err)
	}
	must(t, other.SetCurrent())
	if current, err := other.IsCurrent(); err != nil || !current {
		t.Errorf("after SetCurrent: %v, %v", current, err)
	}
	must(t, s.ctx.SetCurrent())
	must(t, errors.Join(other.Close(), other.Close()))
	limit, err := s.d.Limit(LimitPrintfFIFO)
	must(t, err)
	must(t, s.d.SetLimit(LimitPrintfFIFO, limit))
	// A context is no peer of its own; a machine with several GPUs is what the transfers of bench are tried on.
	if err := s.d.EnablePeer(s.ctx); err == nil {
		t.Error("a context became its own peer")
	}
	if err := s.d.DisablePeer(s.ctx); err == nil {
		t.Error("access was taken away that nobody had")
	}
	if least, greatest, err := s.d.StreamPriorities(); err != nil || greatest > least {
		t.Errorf("priorities %d to %d, %v", least, greatest, err)
	}
	must(t, s.d.Synchronize())
}

func testModules(t *testing.T, s *session) {
	if _, err := s.module.Function("no_such_kernel"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a kernel that is not there: %v", err)
	}
	if registers, err := s.fill.Attribute(FuncRegisters); err != nil || registers == 0 {
		t.Errorf("registers %d, %v", registers, err)
	}
	must(t, s.fill.SetAttribute(FuncMaxDynamicShared, 32<<10))
	if blocks, err := s.fill.BlocksPerMultiprocessor(256, 0); err != nil || blocks < 1 {
		t.Errorf("blocks a multiprocessor %d, %v", blocks, err)
	}
	if name, err := s.fill.Name(); err != nil || name != "fill" {
		t.Errorf("name %q, %v", name, err)
	}
	address, size, err := s.module.Global("counter")
	if s.d.Simulated() {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("simulated modules have no data: %v", err)
		}
	} else if err != nil || address == 0 || size != 4 {
		t.Errorf("variable at %#x, %d bytes, %v", address, size, err)
	}
	plain, err := s.d.LoadModulePlain([]byte(ptx))
	must(t, err)
	must(t, errors.Join(plain.Close(), plain.Close()))
	library, err := s.d.LoadLibrary([]byte(ptx))
	must(t, err)
	if f, err := library.Function("fill"); err != nil || f.handle == 0 {
		t.Errorf("kernel of a library: %v", err)
	}
	if m, err := library.Module(); err != nil || m.handle == 0 {
		t.Errorf("module of a library: %v", err)
	}
	must(t, errors.Join(library.Close(), library.Close()))
	if _, err := s.d.LoadModule([]byte("no image at all")); err == nil {
		t.Error("rubbish was loaded as a module")
	}
}

// checkFilled compares what fill has left, which a simulated kernel does not.
func checkFilled(t *testing.T, s *session, p Pointer, n int, value uint32) {
	t.Helper()
	got := make([]byte, 4*n)
	must(t, s.d.CopyToHost(got, p))
	for i := 0; i < n && !s.d.Simulated(); i++ {
		if v := *(*uint32)(unsafe.Pointer(&got[4*i])); v != value+uint32(i) {
			t.Fatalf("element %d is %d, want %d", i, v, value+uint32(i))
		}
	}
}

func testLaunches(t *testing.T, s *session) {
	const n = 1000
	p, err := s.d.Alloc(4 * n)
	must(t, err)
	config := LaunchConfig{Grid: Dim{4}, Block: Dim{256}}
	must(t, s.stream.Launch(s.fill, config, Address(p), Uint32(7), Int32(n)))
	must(t, s.stream.Synchronize())
	checkFilled(t, s, p, n, 7)
	must(t, s.stream.LaunchEx(s.fill, config, Address(p), Uint32(70), Int32(n)))
	must(t, s.stream.Synchronize())
	checkFilled(t, s, p, n, 70)
	if major, _, err := s.device.ComputeCapability(); err == nil && major >= 9 {
		config.Cluster = Dim{2}
		must(t, s.stream.LaunchEx(s.fill, config, Address(p), Uint32(700), Int32(n)))
		must(t, s.stream.Synchronize())
		checkFilled(t, s, p, n, 700)
	}
	if err := s.stream.Launch(s.fill, LaunchConfig{Grid: Dim{1}, Block: Dim{2000}}, Address(p), Uint32(0), Int32(n)); !errors.Is(err, ErrInvalidValue) {
		t.Errorf("2000 threads a block: %v", err)
	}
	must(t, s.d.Free(p))
	if got := (Dim{3, 0, 5}).Count(); got != 15 {
		t.Errorf("3 by 0 by 5 counts %d", got)
	}
	for _, c := range []struct {
		arg  Arg
		want uint64
	}{{Int64(-1), math.MaxUint64}, {Int32(-1), math.MaxUint32}, {Float32(1), 0x3f800000}, {Float64(1), 0x3ff0000000000000}} {
		if got := *(*uint64)(params([]Arg{c.arg})[0]); got != c.want {
			t.Errorf("argument %#x, want %#x", got, c.want)
		}
	}
	if b := []byte{1, 2, 3}; *(*byte)(params([]Arg{Struct(b)})[0]) != 1 {
		t.Error("a struct is not passed by its bytes")
	}
}

func testStreams(t *testing.T, s *session) {
	other, err := s.d.NewStream(StreamConfig{Priority: -1})
	must(t, err)
	if priority, err := other.Priority(); err != nil || priority > 0 {
		t.Errorf("priority %d, %v", priority, err)
	}
	if inside, err := other.In(s.ctx); err != nil || !inside {
		t.Errorf("stream in its context: %v, %v", inside, err)
	}
	start, err := s.d.NewEvent()
	must(t, err)
	end, err := s.d.NewEvent()
	must(t, err)
	mark, err := s.d.NewMark()
	must(t, err)
	p, err := s.d.Alloc(64 << 20)
	must(t, err)
	must(t, errors.Join(start.Record(s.stream), s.stream.Set8(p, 1, 64<<20), end.Record(s.stream), mark.Record(s.stream), other.Wait(mark)))
	if _, err := s.stream.Done(); err != nil {
		t.Error(err)
	}
	if _, err := end.Done(); err != nil {
		t.Error(err)
	}
	must(t, end.Synchronize())
	must(t, errors.Join(s.stream.Synchronize(), other.Synchronize(), s.d.DefaultStream().Synchronize()))
	if done, err := s.stream.Done(); err != nil || !done {
		t.Errorf("after Synchronize the stream is done: %v, %v", done, err)
	}
	if took, err := Elapsed(start, end); err != nil || took <= 0 {
		t.Errorf("64 MiB were set in %v, %v", took, err)
	}
	if _, err := Elapsed(start, mark); err == nil {
		t.Error("an event without a time gave one")
	}
	must(t, errors.Join(start.Close(), end.Close(), mark.Close(), mark.Close(), s.d.Free(p), other.Close(), other.Close(), s.d.DefaultStream().Close()))
}

func testGraphs(t *testing.T, s *session) {
	const n = 512
	p, err := s.d.Alloc(4 * n)
	must(t, err)
	g, err := s.stream.Capture(func() error {
		if capturing, err := s.stream.Capturing(); err != nil || !capturing {
			t.Errorf("while capturing: %v, %v", capturing, err)
		}
		return errors.Join(
			s.stream.Set32(p, 0, n),
			s.stream.Launch(s.fill, LaunchConfig{Grid: Dim{2}, Block: Dim{256}}, Address(p), Uint32(1), Int32(n)),
			s.stream.Launch(s.fill, LaunchConfig{Grid: Dim{2}, Block: Dim{256}}, Address(p), Uint32(9), Int32(n)))
	})
	must(t, err)
	if nodes, err := g.Nodes(); err != nil || nodes != 3 {
		t.Errorf("%d nodes, %v", nodes, err)
	}
	exec, err := g.Instantiate()
	must(t, err)
	must(t, errors.Join(g.Close(), g.Close()))
	must(t, errors.Join(exec.Upload(s.stream), exec.Launch(s.stream), exec.Launch(s.stream), s.stream.Synchronize()))
	checkFilled(t, s, p, n, 9)
	must(t, errors.Join(exec.Close(), exec.Close(), s.d.Free(p)))
	broken := errors.New("no work after all")
	if g, err := s.stream.Capture(func() error { return broken }); !errors.Is(err, broken) || g != nil {
		t.Errorf("a capture whose work failed: %v, %v", g, err)
	}
	if capturing, err := s.stream.Capturing(); err != nil || capturing {
		t.Errorf("after a failed capture: %v, %v", capturing, err)
	}
}

func testErrors(t *testing.T, s *session) {
	_, err := s.d.Alloc(1 << 50)
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, ErrOutOfMemory) || e.Call != "cuMemAlloc_v2" || e.Name != "CUDA_ERROR_OUT_OF_MEMORY" || e.Text != "out of memory" {
		t.Errorf("out of memory reads %#v", err)
	}
	if _, err := s.d.Device(100); !errors.Is(err, ErrInvalidDevice) {
		t.Errorf("device 100: %v", err)
	}
	if _, err := s.device.Attribute(-1); !errors.Is(err, ErrInvalidValue) {
		t.Errorf("attribute -1: %v", err)
	}
}
