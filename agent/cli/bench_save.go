package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/warpscope/warpscope/agent/bench/result"
	"github.com/warpscope/warpscope/agent/ceilings"
	"github.com/warpscope/warpscope/cuda"
)

// ceilingStore is where ceilings are kept for this user.
func ceilingStore(env *Env) (ceilings.Store, error) {
	folder := env.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(folder) {
		home := env.Getenv("HOME")
		if !filepath.IsAbs(home) {
			return ceilings.Store{}, errors.New("neither XDG_CONFIG_HOME nor HOME says where this user's configuration is")
		}
		folder = filepath.Join(home, ".config")
	}
	return ceilings.Store{Folder: ceilings.Folder(folder)}, nil
}

// known is what was saved of a GPU, and its datasheet; nothing of a GPU that nobody knows is no error. What was saved and cannot be read keeps nobody
// from measuring, which is how it is mended: note says so.
func known(store ceilings.Store, v cuda.Device) (k ceilings.GPU, note string, err error) {
	name, err := v.Name()
	uuid, err2 := v.UUID()
	if err := errors.Join(err, err2); err != nil {
		return k, "", err
	}
	id := uuid.String()
	if store.Folder == "" { // nobody says whose configuration it would be
		id = ""
	}
	if k, err = store.Of(id, name); err != nil && !errors.Is(err, ceilings.ErrUnknown) {
		note = fmt.Sprintf("what was saved of this GPU is not used: %v", err)
		k, err = store.Of("", name)
	}
	if errors.Is(err, ceilings.ErrUnknown) {
		err = nil
	}
	return k, note, err
}

// save keeps the run's own rates.
func save(env *Env, store ceilings.Store, r *result.Result) error {
	set := r.Ceilings()
	switch {
	case r.GPU.Simulated:
		return errors.New("--save: rates of the simulated device are no ceilings")
	case len(set.Rates) == 0:
		return errors.New("--save: these suites measure no ceiling, or all rows failed; memory, transfer and matmul do")
	}
	low := 0
	for _, row := range r.Best() {
		if row.Conditions.Slowed() {
			low++
		}
	}
	if low > 0 {
		fmt.Fprintf(env.Stderr, "warpscope: %d of %d ceilings were measured while the GPU held its clock down: they may be too low\n", low, len(set.Rates))
	}
	if err := store.Save(set); err != nil {
		return err
	}
	fmt.Fprintf(env.Stderr, "warpscope: saved %d ceilings of %s in %s\n", len(set.Rates), r.GPU.UUID, store.Folder)
	return nil
}

// canReplace says early whether replaceFile will find its place; an empty path is none.
func canReplace(path string) error {
	folder, special, err := placeOf(path)
	if err != nil || special || path == "" {
		return err
	}
	f, err := beside(path, folder)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// replaceFile writes a file beside its place and then puts it there whole, for its owner alone: what was there before stays until then. A device or a
// pipe is written to.
func replaceFile(path string, fill func(io.Writer) error) error {
	folder, special, err := placeOf(path)
	if err != nil {
		return err
	}
	if special {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(fill(f), f.Close())
	}
	f, err := beside(path, folder)
	if err != nil {
		return err
	}
	if err = errors.Join(fill(f), f.Close()); err == nil {
		if to, linkErr := filepath.EvalSymlinks(path); linkErr == nil {
			path = to
		}
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	return nil
}

// placeOf is the folder in which a file is or will be; special: it is a device or a pipe.
func placeOf(path string) (folder string, special bool, err error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return filepath.Dir(path), false, nil
	case info.IsDir():
		return "", false, fmt.Errorf("write %s: it is a folder", path)
	case !info.Mode().IsRegular():
		return "", true, nil
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", false, err
	}
	return filepath.Dir(path), false, nil
}

// beside is a new file where another one is to be.
func beside(path, folder string) (*os.File, error) {
	f, err := os.CreateTemp(folder, ".warpscope-*") // 0600
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return f, nil
}
