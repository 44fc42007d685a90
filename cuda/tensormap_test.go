package cuda

import (
	"errors"
	"testing"
	"unsafe"
)

// testTensorMaps: the simulated driver has no TMA, and says so; a real one (CUDA 12.0) encodes.
func testTensorMaps(t *testing.T, s *session) {
	p, err := s.d.Alloc(64 * 256)
	must(t, err)
	good := Tensor{Address: p, Element: ElementBFloat16, Dims: []uint64{128, 64}, Strides: []uint64{256}, Box: []uint32{64, 64}}
	for range 8 {
		m, err := s.d.NewTensorMap(good)
		if s.d.Simulated() {
			if !errors.Is(err, ErrUnsupported) {
				t.Errorf("the simulated driver made a tensor map: %v", err)
			}
			break
		}
		must(t, err)
		if at := uintptr(unsafe.Pointer(&m.data[0])); len(m.data) != 128 || at%128 != 0 {
			t.Errorf("a tensor map of %d bytes at %#x", len(m.data), at)
		}
	}
	if _, err := s.d.NewTensorMap(Tensor{Address: p, Dims: []uint64{128, 64}, Box: []uint32{64, 64}}); !errors.Is(err, ErrInvalidValue) {
		t.Errorf("a tensor without strides: %v", err)
	}
	if !s.d.Simulated() {
		good.Strides[0] = 250
		if _, err := s.d.NewTensorMap(good); !errors.Is(err, ErrInvalidValue) {
			t.Errorf("a stride of 250 bytes: %v", err)
		}
	}
	if _, err := s.d.Symbol("cuLaunchKernel"); err != nil {
		t.Error(err)
	}
	if _, err := s.d.Symbol("cuNoSuchCall"); !errors.Is(err, ErrUnsupported) {
		t.Errorf("a symbol that no driver has: %v", err)
	}
	must(t, s.d.Free(p))
}
