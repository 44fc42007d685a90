package cuda

import (
	_ "embed"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"
)

//go:embed cublaslt.go
var blasSource string

//go:embed cudnn.go
var dnnSource string

// TestNumbersAreThoseOfTheHeaders compares what cublaslt.go and cudnn.go call by number with NVIDIA's headers, where the machine has
// them beside the libraries (PyTorch's wheels bring them), or in the folders that WARPSCOPE_CUDA_INCLUDE lists.
func TestNumbersAreThoseOfTheHeaders(t *testing.T) {
	theirs := map[string]int{}
	enumerator := regexp.MustCompile(`(?m)^\s*((?:CUBLAS|CUBLASLT|CUDNN|CUDA)_\w+)[^=,\n]*=\s*(\d+)`)
	headers := filepath.SplitList(os.Getenv("WARPSCOPE_CUDA_INCLUDE"))
	for _, library := range slices.Concat(
		Search{Getenv: os.Getenv}.candidates([]string{"libcublasLt.so.13", "libcublasLt.so.12"}), Search{Getenv: os.Getenv}.candidates([]string{"libcudnn.so.9"})) {
		headers = append(headers, filepath.Join(filepath.Dir(library), "../include"))
	}
	for _, folder := range headers {
		for _, name := range []string{"cublas_api.h", "cublasLt.h", "library_types.h", "cudnn_graph.h", "cudnn_graph_v9.h"} {
			text, err := os.ReadFile(filepath.Join(folder, name))
			if err != nil {
				continue
			}
			for _, m := range enumerator.FindAllStringSubmatch(string(text), -1) {
				if _, known := theirs[m[1]]; !known {
					theirs[m[1]], _ = strconv.Atoi(m[2])
				}
			}
		}
	}
	if len(theirs) == 0 {
		t.Skip("needs NVIDIA's headers: put their folders into WARPSCOPE_CUDA_INCLUDE")
	}
	compared := 0
	ours := regexp.MustCompile(`(?m)^\s*\w+ +(?:int32|ScalarType) += (\d+) +// ([A-Z]\w+)$`)
	for _, m := range ours.FindAllStringSubmatch(blasSource+dnnSource, -1) {
		want, known := theirs[m[2]]
		if !known {
			t.Logf("these headers do not have %s", m[2])
			continue
		}
		if m[1] != strconv.Itoa(want) {
			t.Errorf("%s is %s here, %d in the header", m[2], m[1], want)
		}
		compared++
	}
	t.Logf("%d numbers compared", compared)
	if compared == 0 {
		t.Error("nothing was compared")
	}
}

// The layout that cuBLASLt writes.
func TestHeuristicIsLaidOutAsCuBLASLtHasIt(t *testing.T) {
	var h blasHeuristic
	if size := unsafe.Sizeof(h); size != 96 {
		t.Errorf("cublasLtMatmulHeuristicResult_t has 96 bytes, not %d", size)
	}
	if at := []uintptr{unsafe.Offsetof(h.workspace), unsafe.Offsetof(h.state), unsafe.Offsetof(h.waves)}; !slices.Equal(at, []uintptr{64, 72, 76}) {
		t.Errorf("fields of cublasLtMatmulHeuristicResult_t at %v", at)
	}
}

func TestSearchGoesFromWhatIsGivenToWhatIsUsual(t *testing.T) {
	root := t.TempDir()
	touch := func(path string) string {
		path = filepath.Join(root, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o755)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	names := []string{"libx.so.2", "libx.so.1"}
	toolkit := touch("toolkit/lib64/libx.so.1")
	older := touch("venv/lib/python3.12/site-packages/nvidia/x/lib/libx.so.1")
	newer := touch("venv/lib/python3.12/site-packages/nvidia/cu2/lib/libx.so.2")
	other := touch("venv/lib/python3.12/site-packages/nvidia/y/lib/liby.so.9")
	touch("bin/python3")
	env := func(values map[string]string) func(string) string {
		return func(name string) string { return values[name] }
	}
	none := env(nil)
	for _, c := range []struct {
		name string
		s    Search
		want []string
	}{
		{"a file", Search{Path: toolkit, Getenv: none}, []string{toolkit}},
		{"a file that is not there", Search{Path: "/nowhere/libx.so.1", Getenv: none}, []string{"/nowhere/libx.so.1"}},
		{"a toolkit", Search{Path: filepath.Join(root, "toolkit"), Getenv: none}, []string{toolkit}},
		{"an environment", Search{Path: filepath.Join(root, "venv"), Getenv: none}, []string{newer, older}},
		{"its packages", Search{Path: filepath.Join(root, "venv/lib/python3.12/site-packages"), Getenv: none}, []string{newer, older}},
		{"another library's file", Search{Path: other, Getenv: none}, nil},
		{"a folder without it", Search{Path: filepath.Join(root, "bin"), Getenv: none}, nil},
	} {
		if got := c.s.candidates(names); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	usual := Search{Getenv: env(map[string]string{"VIRTUAL_ENV": filepath.Join(root, "venv")})}.candidates(names)
	if len(usual) < 4 || !slices.Equal(usual[:4], []string{"libx.so.2", "libx.so.1", newer, older}) {
		t.Errorf("without a path: %v", usual)
	}
	if got := (Search{Getenv: env(map[string]string{"PATH": "/nowhere:" + filepath.Join(root, "bin")})}).pythons(); !slices.Contains(got, root) {
		t.Errorf("the installation of python3 on the path is not among %v", got)
	}
}

func TestMissingLibraryIsSaidWithItsPlaces(t *testing.T) {
	_, err := OpenBLAS(Search{Path: "/nowhere/libcublasLt.so.13"})
	if !errors.Is(err, ErrNoLibrary) || !strings.Contains(err.Error(), "cuBLASLt") || !strings.Contains(err.Error(), "/nowhere") {
		t.Errorf("a path that is not there: %v", err)
	}
	// A library, but not this one: it lacks the functions, and is not taken.
	at := filepath.Join(t.TempDir(), "libcudnn.so.9")
	libc := findLibc(t)
	if err := os.Symlink(libc, at); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDNN(Search{Path: at}); !errors.Is(err, ErrNoLibrary) || !strings.Contains(err.Error(), "cudnnCreate") {
		t.Errorf("a library without the functions: %v", err)
	}
}

// findLibc is the file of some shared library that is loaded already.
func findLibc(t *testing.T) string {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	path := regexp.MustCompile(`(/\S*/libc\.so\S*)`).FindString(string(maps))
	if path == "" {
		t.Fatal("no libc in /proc/self/maps")
	}
	return path
}

// TestGPUReferences runs a product of cuBLASLt whose result is exact, where the machine has the library and a GPU.
func TestGPUReferences(t *testing.T) {
	d, err := Open("")
	if err != nil || d.Simulated() {
		t.Skipf("needs an NVIDIA GPU: %v", err)
	}
	device, err := d.Device(0)
	must(t, err)
	ctx, err := device.PrimaryContext()
	must(t, err)
	must(t, ctx.Do(func() error {
		l, err := OpenBLAS(Search{Getenv: os.Getenv})
		if errors.Is(err, ErrNoLibrary) {
			t.Skip(err)
		}
		must(t, err)
		t.Logf("cuBLASLt %s, %s", l.Version(), l.Path())
		const m, n, k, space = 48, 32, 64, 1 << 20
		a, b, want := make([]byte, m*k), make([]byte, n*k), make([]int32, m*n)
		for i := range a {
			a[i] = byte(i*7%23 - 11)
		}
		for i := range b {
			b[i] = byte(i*5%19 - 9)
		}
		for i := range m {
			for j := range n {
				for l := range k {
					want[i*n+j] += int32(int8(a[i*k+l])) * int32(int8(b[j*k+l]))
				}
			}
		}
		var at [4]Pointer
		for i, size := range []uint64{m * k, n * k, 4 * m * n, space} {
			at[i], err = d.Alloc(size)
			must(t, err)
		}
		must(t, errors.Join(d.CopyToDevice(at[0], a), d.CopyToDevice(at[1], b)))
		p, err := l.NewProduct(BLASConfig{Operands: ScalarInt8, Result: ScalarInt32, M: m, N: n, K: k, A: at[0], B: at[1], C: at[2],
			Workspace: at[3], WorkspaceBytes: space, Algorithms: 4})
		must(t, err)
		for i := range p.Algorithms() {
			got := make([]int32, m*n)
			must(t, errors.Join(d.Set8(at[2], 0xff, 4*m*n), d.Synchronize(), p.Run(d.DefaultStream(), i), d.Synchronize(),
				d.CopyToHost(unsafe.Slice((*byte)(unsafe.Pointer(&got[0])), 4*m*n), at[2])))
			if !slices.Equal(got, want) {
				t.Errorf("algorithm %d is wrong: %v, want %v", i, got[:4], want[:4])
			}
		}
		must(t, errors.Join(p.Close(), p.Close()))
		return nil
	}))
	must(t, ctx.Close())
}
