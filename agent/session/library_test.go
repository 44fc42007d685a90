package session

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/warpscope/warpscope/cupti/lib"
)

// image is a stand-in for the library: extraction does not look inside.
func image() []byte { return bytes.Repeat([]byte("\x7fELF warpscope "), 40_000) }

func TestExtractIsPrivateWholeAndReused(t *testing.T) {
	home := filepath.Join(t.TempDir(), "cache", "warpscope")
	path, err := extractLibrary(image(), []string{home})
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Base(path) != libraryName || !strings.HasPrefix(path, home+"/") {
		t.Errorf("extracted to %s", path)
	}
	for p, mode := range map[string]fs.FileMode{home: 0o700, filepath.Dir(path): 0o700, path: 0o500} {
		info, err := os.Lstat(p)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %v, want %v", p, info.Mode().Perm(), mode)
		}
	}
	before, _ := os.Stat(path)
	again, err := extractLibrary(image(), []string{home})
	after, _ := os.Stat(path)
	if err != nil || again != path || !os.SameFile(before, after) {
		t.Errorf("second extraction: %s, %v, replaced the file: %v", again, err, !os.SameFile(before, after))
	}
	other, err := extractLibrary(append(image(), 'x'), []string{home})
	if err != nil || other == path {
		t.Errorf("another library went to %s, %v", other, err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestExtractReplacesWhatIsNotTheLibrary(t *testing.T) {
	for name, spoil := range map[string]func(path, outside string) error{
		"changed": func(path, _ string) error {
			b := image()
			b[1000] ^= 1
			return rewrite(path, b)
		},
		"cut":      func(path, _ string) error { return rewrite(path, image()[:100]) },
		"writable": func(path, _ string) error { return os.Chmod(path, 0o777) },
		"a link":   func(path, outside string) error { return errors.Join(os.Remove(path), os.Symlink(outside, path)) },
		"a pipe":   func(path, _ string) error { return errors.Join(os.Remove(path), unix.Mkfifo(path, 0o600)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			outside := filepath.Join(dir, "outside")
			if err := os.WriteFile(outside, image(), 0o644); err != nil {
				t.Fatal(err)
			}
			homes := []string{filepath.Join(dir, "warpscope")}
			path, err := extractLibrary(image(), homes)
			if err != nil {
				t.Fatal(err)
			}
			if err := spoil(path, outside); err != nil {
				t.Fatal(err)
			}
			if _, err := extractLibrary(image(), homes); err != nil {
				t.Fatal(err)
			}
			info, err := os.Lstat(path)
			if err != nil || !info.Mode().IsRegular() || info.Mode().Perm() != 0o500 {
				t.Fatalf("now %v, %v", info, err)
			}
			if got, _ := os.ReadFile(path); !bytes.Equal(got, image()) {
				t.Error("still not the library")
			}
		})
	}
}

func rewrite(path string, b []byte) error {
	return errors.Join(os.Remove(path), os.WriteFile(path, b, 0o500))
}

func TestExtractGoesWhereItCan(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	link := filepath.Join(dir, "link")
	elsewhere := filepath.Join(dir, "elsewhere")
	for _, err := range []error{
		os.WriteFile(file, nil, 0o600), os.Mkdir(elsewhere, 0o700), os.Symlink(elsewhere, link),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	good := filepath.Join(dir, "good")
	path, err := extractLibrary(image(), []string{
		filepath.Join(file, "warpscope"),         // below a file
		link,                                     // somebody's link
		filepath.Join(dir, "with space", "here"), // LD_PRELOAD splits it
		filepath.Join(dir, "with:colon", "here"),
		"/proc/warpscope", // nobody may write there
		good,
	})
	if err != nil || !strings.HasPrefix(path, good+"/") {
		t.Errorf("extracted to %q, %v, want below %s", path, err, good)
	}
	if entries, _ := os.ReadDir(elsewhere); len(entries) != 0 {
		t.Errorf("the link was followed: %v", entries)
	}
	_, err = extractLibrary(image(), []string{link, "/proc/warpscope"})
	if err == nil || !strings.Contains(err.Error(), link) || !strings.Contains(err.Error(), "XDG_CACHE_HOME") {
		t.Errorf("nowhere to go: %v", err)
	}
}

func TestExtractRefusesAnothersDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a directory away")
	}
	home := filepath.Join(t.TempDir(), "warpscope")
	if err := errors.Join(os.Mkdir(home, 0o777), os.Chown(home, 12345, 12345)); err != nil {
		t.Fatal(err)
	}
	if path, err := extractLibrary(image(), []string{home}); err == nil || !strings.Contains(err.Error(), "belongs to user 12345") {
		t.Errorf("extracted to %q, %v", path, err)
	}
}

func TestExtractOnAFullDiskOrOneWithoutExec(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount the small file system that this test fills")
	}
	for _, c := range []struct {
		name  string
		flags uintptr
		data  string
		want  string
	}{
		{"full", 0, "size=64k", "no space left on device"},
		{"noexec", unix.MS_NOEXEC, "size=8m", "mounted noexec"},
	} {
		t.Run(c.name, func(t *testing.T) {
			small := t.TempDir()
			if err := unix.Mount("tmpfs", small, "tmpfs", c.flags, c.data); err != nil {
				t.Skipf("no file system can be mounted here: %v", err)
			}
			defer unix.Unmount(small, unix.MNT_DETACH)
			_, err := extractLibrary(image(), []string{filepath.Join(small, "warpscope")})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			left, _ := filepath.Glob(filepath.Join(small, "warpscope", "*", "*"))
			hidden, _ := filepath.Glob(filepath.Join(small, "warpscope", "*", ".*"))
			if len(left)+len(hidden) != 0 {
				t.Errorf("left behind: %q %q", left, hidden)
			}
			next := filepath.Join(t.TempDir(), "warpscope")
			path, err := extractLibrary(image(), []string{filepath.Join(small, "warpscope"), next})
			if err != nil || !strings.HasPrefix(path, next+"/") {
				t.Errorf("then to %q, %v, want below %s", path, err, next)
			}
		})
	}
}

// TestExtractInManyProcessesAtOnce has processes extract while others read: nobody may ever see
// anything but the whole library.
func TestExtractInManyProcessesAtOnce(t *testing.T) {
	home := filepath.Join(t.TempDir(), "warpscope")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), helperVariable+"=extract", "EXTRACT_HOME="+home)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	left, err := os.ReadDir(home)
	if err != nil || len(left) != 1 {
		t.Fatalf("%v, %v", left, err)
	}
	if files, _ := os.ReadDir(filepath.Join(home, left[0].Name())); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}

// extractHelper is one of those processes.
func extractHelper() error {
	homes := []string{os.Getenv("EXTRACT_HOME")}
	for i := range 20 {
		path, err := extractLibrary(image(), homes)
		if err != nil {
			return err
		}
		got, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, image()) {
			return errors.New("half a library was seen")
		}
		if i%3 == 0 { // no longer trustworthy: the next process writes it again
			if err := os.Chmod(path, 0o722); err != nil {
				return err
			}
		}
	}
	return nil
}

func TestLibraryHomes(t *testing.T) {
	got := strings.Join(libraryHomes([]string{"HOME=/home/u", "XDG_CACHE_HOME=/c", "TMPDIR=/t"}, 7), " ")
	want := "/c/warpscope /home/u/.cache/warpscope /var/tmp/warpscope-7 /t/warpscope-7 /tmp/warpscope-7"
	if got != want {
		t.Errorf("homes %s, want %s", got, want)
	}
	got = strings.Join(libraryHomes([]string{"XDG_CACHE_HOME=relative"}, 7), " ")
	if want := "/var/tmp/warpscope-7 /tmp/warpscope-7"; got != want {
		t.Errorf("without a home: %s, want %s", got, want)
	}
}

func TestLibraryOfAnAgentThatWasBuiltWithoutIt(t *testing.T) {
	built, err := lib.Library()
	path, extractErr := Library([]string{"HOME=" + t.TempDir()})
	if err != nil {
		if !errors.Is(extractErr, lib.ErrNotBuilt) {
			t.Errorf("Library: %q, %v", path, extractErr)
		}
		return
	}
	got, readErr := os.ReadFile(path)
	if extractErr != nil || readErr != nil || !bytes.Equal(got, built) {
		t.Errorf("Library: %q, %v, %v", path, extractErr, readErr)
	}
}
