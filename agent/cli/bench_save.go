package cli

import (
	"errors"
	"fmt"
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
