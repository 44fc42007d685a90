package cuda

import (
	"bytes"
	"errors"
	"testing"
)

func testMemory(t *testing.T, s *session) {
	free, total, err := s.d.MemInfo()
	must(t, err)
	p, err := s.d.Alloc(1 << 20)
	must(t, err)
	if base, size, err := s.d.AddressRange(p + 100); err != nil || base != p || size < 1<<20 {
		t.Errorf("range of %#x: %#x, %d, %v", p, base, size, err)
	}
	if kind, err := s.d.TypeOf(p); err != nil || kind != MemoryDevice {
		t.Errorf("type of device memory: %d, %v", kind, err)
	}
	must(t, s.d.Free(p))
	if err := s.d.Free(p); err == nil {
		t.Error("the same memory was freed twice")
	}
	q, pitch, err := s.d.AllocPitch(100, 10, 4)
	if err != nil || pitch < 100 {
		t.Errorf("pitch %d, %v", pitch, err)
	}
	m, err := s.d.AllocManaged(1 << 16)
	must(t, err)
	must(t, errors.Join(s.d.Free(q), s.d.Free(m), s.d.Free(0)))
	if _, err := s.d.Alloc(total * 2); !errors.Is(err, ErrOutOfMemory) {
		t.Errorf("twice the GPU's memory: %v", err)
	}
	if free == 0 || free > total {
		t.Errorf("free %d of %d", free, total)
	}
}

func testHostMemory(t *testing.T, s *session) {
	h, err := s.d.AllocHost(4096)
	must(t, err)
	copy(h.Bytes(), "pinned")
	if p, err := h.Pointer(); err != nil || p == 0 {
		t.Errorf("device pointer of host memory %#x, %v", p, err)
	}
	must(t, errors.Join(h.Close(), h.Close()))
	memory := make([]byte, 1<<16)
	pinned, err := s.d.PinHost(memory)
	must(t, err)
	if &pinned.Bytes()[0] != &memory[0] {
		t.Error("pinned memory moved")
	}
	if _, err := s.d.PinHost(memory); err == nil {
		t.Error("the same memory was pinned twice")
	}
	must(t, errors.Join(pinned.Close(), pinned.Close()))
	if _, err := s.d.PinHost(nil); !errors.Is(err, ErrInvalidValue) {
		t.Errorf("pinning nothing: %v", err)
	}
}

func testPools(t *testing.T, s *session) {
	own, err := s.device.NewPool()
	must(t, err)
	must(t, own.SetThreshold(1<<30))
	if bytes, err := own.Threshold(); err != nil || bytes != 1<<30 {
		t.Errorf("threshold %d, %v", bytes, err)
	}
	p, err := s.stream.AllocFrom(own, 1<<20)
	must(t, err)
	use, err := own.Use()
	if err != nil || use.Used < 1<<20 || use.Reserved < use.Used || use.UsedHigh < use.Used || use.ReservedHigh < use.Reserved {
		t.Errorf("pool with 1 MiB in use: %+v, %v", use, err)
	}
	must(t, s.stream.FreeAsync(p))
	must(t, s.stream.Synchronize())
	must(t, own.Trim(0))
	if use, err := own.Use(); err != nil || use.Used != 0 || use.Reserved != 0 {
		t.Errorf("a pool trimmed to nothing: %+v, %v", use, err)
	}
	standard, err := s.device.DefaultPool()
	must(t, err)
	must(t, s.device.SetPool(own))
	if now, err := s.device.Pool(); err != nil || now.handle != own.handle {
		t.Errorf("the pool that was set is not the device's: %v", err)
	}
	must(t, s.device.SetPool(standard))
	q, err := s.stream.AllocAsync(1 << 20)
	must(t, err)
	must(t, errors.Join(s.stream.FreeAsync(q), s.stream.Synchronize(), standard.Close(), own.Close(), own.Close()))
}

func testPhysical(t *testing.T, s *session) {
	grain, err := s.device.Granularity()
	must(t, err)
	r, err := s.d.Reserve(4 * grain)
	must(t, err)
	a, err := s.device.NewPhysical(grain)
	must(t, err)
	must(t, r.Map(0, a))
	must(t, r.Map(grain, a)) // the same memory at two places
	must(t, r.SetAccess(0, 2*grain, s.device))
	must(t, s.d.CopyToDevice(r.Base, []byte("mapped twice")))
	got := make([]byte, 12)
	must(t, s.d.CopyToHost(got, r.Base+Pointer(grain)))
	if string(got) != "mapped twice" {
		t.Errorf("the second mapping shows %q", got)
	}
	again, err := s.d.PhysicalAt(r.Base)
	must(t, err)
	must(t, errors.Join(a.Close(), a.Close(), again.Close()))
	if a.Size() != grain {
		t.Errorf("size %d, want %d", a.Size(), grain)
	}
	must(t, s.d.CopyToHost(got, r.Base)) // released, but mapped
	must(t, r.Unmap(0, grain))
	must(t, r.Unmap(grain, grain))
	must(t, errors.Join(r.Close(), r.Close()))
	_, total, err := s.d.MemInfo()
	must(t, err)
	if _, err := s.device.NewPhysical(total / grain * grain * 2); !errors.Is(err, ErrOutOfMemory) {
		t.Errorf("twice the GPU's memory: %v", err)
	}
}

func testCopies(t *testing.T, s *session) {
	const n = 4096
	want := bytes.Repeat([]byte("warpscope"), n/9+1)[:n]
	h, err := s.d.AllocHost(n)
	must(t, err)
	a, err := s.d.Alloc(n)
	must(t, err)
	b, err := s.d.Alloc(n)
	must(t, err)
	for _, c := range []struct {
		name string
		run  func() error
	}{
		{"synchronous", func() error {
			return errors.Join(s.d.CopyToDevice(a, want), s.d.CopyOnDevice(b, a, n), s.d.Synchronize(), s.d.CopyToHost(h.Bytes(), b))
		}},
		{"in a stream", func() error {
			return errors.Join(s.stream.CopyToDevice(a, want), s.stream.CopyOnDevice(b, a, n), s.stream.CopyToHost(h.Bytes(), b), s.stream.Synchronize())
		}},
		{"by address", func() error {
			return errors.Join(s.stream.CopyToDevice(a, want), s.stream.Copy(b, a, n), s.stream.Synchronize(), s.d.Copy(a, b, n), s.d.CopyToHost(h.Bytes(), a))
		}},
		{"from peer to peer", func() error {
			return errors.Join(s.d.CopyToDevice(a, want), s.stream.CopyPeer(b, s.ctx, a, s.ctx, n), s.stream.Synchronize(), s.d.CopyToHost(h.Bytes(), b))
		}},
	} {
		clear(h.Bytes())
		must(t, errors.Join(s.d.Set8(a, 0, n), s.d.Set8(b, 0, n), s.d.Synchronize()))
		if err := c.run(); err != nil || !bytes.Equal(h.Bytes(), want) {
			t.Errorf("%s: %v, bytes equal: %v", c.name, err, bytes.Equal(h.Bytes(), want))
		}
	}
	must(t, s.d.CopyToDevice(a, nil))
	if err := s.d.CopyToDevice(0x10, want); err == nil {
		t.Error("a copy to nowhere succeeded")
	}
	must(t, errors.Join(s.d.Free(a), s.d.Free(b), h.Close()))
}

func testSets(t *testing.T, s *session) {
	const n = 64
	p, err := s.d.Alloc(n)
	must(t, err)
	got := make([]byte, n)
	for _, c := range []struct {
		name string
		run  func() error
		want []byte
	}{
		{"8 bits", func() error { return s.d.Set8(p, 0xab, n) }, []byte{0xab}},
		{"16 bits", func() error { return s.d.Set16(p, 0xabcd, n/2) }, []byte{0xcd, 0xab}},
		{"32 bits", func() error { return s.d.Set32(p, 0x01020304, n/4) }, []byte{4, 3, 2, 1}},
		{"8 bits in a stream", func() error { return s.stream.Set8(p, 0xac, n) }, []byte{0xac}},
		{"16 bits in a stream", func() error { return s.stream.Set16(p, 0xabce, n/2) }, []byte{0xce, 0xab}},
		{"32 bits in a stream", func() error { return s.stream.Set32(p, 0x01020305, n/4) }, []byte{5, 3, 2, 1}},
	} {
		must(t, errors.Join(c.run(), s.d.Synchronize(), s.d.CopyToHost(got, p)))
		if want := bytes.Repeat(c.want, n/len(c.want)); !bytes.Equal(got, want) {
			t.Errorf("%s: % x", c.name, got[:8])
		}
	}
	must(t, s.d.Free(p))
}
