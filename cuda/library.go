package cuda

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Search says where a library of NVIDIA's that is no part of the driver is looked for.
type Search struct {
	Path   string              // a file, or the folder of an installation; empty: the usual places
	Getenv func(string) string // the environment
}

// Where an installation keeps its libraries, seen from what people call its folder: a toolkit, a virtual environment,
// a site-packages folder, nvidia inside one.
var inside = []string{"", "lib64", "lib", "nvidia/*/lib", "*/lib", "lib/python3*/site-packages/nvidia/*/lib", "lib/python3*/dist-packages/nvidia/*/lib"}

// candidates are the paths to try for a library, most wanted first; names are its file names, newest first. A bare name is
// for the loader: LD_LIBRARY_PATH, then what ldconfig knows.
func (s Search) candidates(names []string) []string {
	var paths []string
	look := func(folders ...string) {
		for _, name := range names {
			for _, folder := range folders {
				found, _ := filepath.Glob(filepath.Join(folder, name)) // the patterns are ours and well-formed
				slices.Reverse(found)
				paths = append(paths, found...)
			}
		}
	}
	if s.Path != "" {
		if info, err := os.Stat(s.Path); err == nil && info.IsDir() {
			for _, f := range inside {
				look(filepath.Join(s.Path, f))
			}
			return paths
		}
		// A library of another name tells the folder.
		if stem, _, _ := strings.Cut(names[0], ".so"); !strings.HasPrefix(filepath.Base(s.Path), stem) {
			look(filepath.Dir(s.Path))
			return paths
		}
		return []string{s.Path}
	}
	paths = append(paths, names...)
	for _, root := range s.pythons() {
		look(filepath.Join(root, inside[5]), filepath.Join(root, inside[6]))
	}
	look("/usr/local/cuda/lib64", "/usr/local/cuda-*/lib64", "/opt/cuda/lib64")
	return paths
}

// pythons are the folders of Python installations: the environment that is active, then the python3 on the path, then the
// user's own packages and the system's.
func (s Search) pythons() []string {
	roots := []string{s.Getenv("VIRTUAL_ENV"), s.Getenv("CONDA_PREFIX")}
	for _, folder := range filepath.SplitList(s.Getenv("PATH")) {
		if path, err := exec.LookPath(filepath.Join(folder, "python3")); err == nil {
			roots = append(roots, filepath.Dir(folder))
			// The interpreter of a system may be a link into the installation that has the packages.
			if real, err := filepath.EvalSymlinks(path); err == nil {
				roots = append(roots, filepath.Dir(filepath.Dir(real)))
			}
			break
		}
	}
	if home := s.Getenv("HOME"); home != "" {
		roots = append(roots, filepath.Join(home, ".local"))
	}
	roots = append(roots, "/usr/local", "/usr")
	var out []string
	for _, r := range roots {
		if filepath.IsAbs(r) && !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out
}

// ErrNoLibrary is what errors.Is finds when a library of NVIDIA's is nowhere, or none of its copies can be used.
var ErrNoLibrary = errors.New("no usable library")

// open loads the first copy of a library that start accepts. what names it for people.
func (s Search) open(what string, names []string, start func(handle uintptr, path string) error) error {
	var failures []error
	for _, path := range s.candidates(names) {
		handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
		if err != nil {
			if strings.ContainsRune(path, '/') { // that the loader does not know a bare name is no news
				failures = append(failures, err)
			}
			continue
		}
		if err = start(handle, loadedFrom(handle, path)); err == nil {
			return nil
		}
		failures = append(failures, fmt.Errorf("%s: %w", path, err))
		if err := purego.Dlclose(handle); err != nil {
			failures = append(failures, err)
		}
	}
	where := "by the loader, in Python environments and in CUDA toolkits"
	if s.Path != "" {
		where = "in " + s.Path
	}
	return errors.Join(fmt.Errorf("%w: %s was looked for %s", ErrNoLibrary, what, where), errors.Join(failures...))
}

// bindAll makes every field of the struct that calls points to callable, by its tag `cuda`. All of them must be there.
func bindAll(handle uintptr, calls any) error {
	fields := reflect.ValueOf(calls).Elem()
	for i := range fields.NumField() {
		field := fields.Type().Field(i)
		symbol := field.Tag.Get("cuda")
		address, err := purego.Dlsym(handle, symbol)
		if err != nil || address == 0 {
			return fmt.Errorf("it has no %s", symbol)
		}
		purego.RegisterFunc(reflect.NewAt(field.Type, unsafe.Pointer(fields.Field(i).UnsafeAddr())).Interface(), address)
	}
	return nil
}

// loadedFrom is the file behind a name that the loader resolved.
func loadedFrom(handle uintptr, name string) string {
	if strings.ContainsRune(name, '/') {
		return name
	}
	const linkMap = 2 // RTLD_DI_LINKMAP
	address, err := purego.Dlsym(purego.RTLD_DEFAULT, "dlinfo")
	if err != nil || address == 0 {
		return name
	}
	var link *struct { // the beginning of a struct link_map
		_    uintptr
		path *byte
	}
	if rc, _, _ := purego.SyscallN(address, handle, linkMap, uintptr(unsafe.Pointer(&link))); rc != 0 || link == nil {
		return name
	}
	return goString(link.path)
}
