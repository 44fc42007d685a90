package ceilings

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
)

// Store is a folder of saved ceilings, one file a GPU.
type Store struct {
	Folder string
}

// Folder is where ceilings are kept, in a user's folder for configuration (os.UserConfigDir).
func Folder(config string) string { return filepath.Join(config, "warpscope", "ceilings") }

// largest is the most that a saved file may be: rates are a few dozen.
const largest = 1 << 20

// path is the file of a GPU. What does not look like the UUID of a GPU, or of an instance of one, must not become a path.
func (s Store) path(uuid string) (string, error) {
	if ok, err := regexp.MatchString(`^(GPU|MIG)-[0-9a-fA-F-]{8,64}$`, uuid); err != nil || !ok {
		return "", fmt.Errorf("%q is no UUID of a GPU", uuid)
	}
	return filepath.Join(s.Folder, uuid+".json"), nil
}

// Save keeps measured ceilings under their UUID. Rates of other kinds that were saved before are kept, unless another driver
// was there then.
func (s Store) Save(set Set) error {
	set.Version, set.Source = Schema, Measured
	path, err := s.path(set.UUID)
	if err == nil {
		err = set.check()
	}
	if err != nil {
		return fmt.Errorf("save ceilings: %w", err)
	}
	// What cannot be read is replaced: saving again is how a damaged file is repaired.
	if before, err := s.Load(set.UUID); err == nil && before.Driver == set.Driver {
		maps.Copy(before.Rates, set.Rates)
		set.Rates = before.Rates
	}
	text, err := json.MarshalIndent(set, "", " ")
	if err != nil {
		return fmt.Errorf("save ceilings: %w", err)
	}
	if err := os.MkdirAll(s.Folder, 0o700); err != nil {
		return fmt.Errorf("save ceilings: %w", err)
	}
	return replace(path, append(text, '\n'))
}

// Ready makes the folder and says whether Save can write there.
func (s Store) Ready() error {
	if err := os.MkdirAll(s.Folder, 0o700); err != nil {
		return fmt.Errorf("save ceilings: %w", err)
	}
	f, err := os.CreateTemp(s.Folder, ".new-*")
	if err == nil {
		err = errors.Join(f.Close(), os.Remove(f.Name()))
	}
	if err != nil {
		return fmt.Errorf("save ceilings: %w", err)
	}
	return nil
}

// replace writes a file beside its place and then puts it there whole; it is the user's alone.
func replace(path string, text []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600
	if err != nil {
		return fmt.Errorf("save ceilings: %w", err)
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("save ceilings: %w", err), os.Remove(f.Name()))
	}
	return nil
}

// Load returns what was saved for a GPU; fs.ErrNotExist if nothing was.
func (s Store) Load(uuid string) (Set, error) {
	path, err := s.path(uuid)
	if err != nil {
		return Set{}, fmt.Errorf("load ceilings: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return Set{}, fmt.Errorf("load ceilings: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, largest+1))
	err = errors.Join(err, f.Close())
	if err == nil && len(text) > largest {
		err = fmt.Errorf("more than %d bytes", largest)
	}
	var set Set
	if err == nil {
		err = json.Unmarshal(text, &set)
	}
	if err == nil {
		err = set.check()
	}
	if err == nil && set.UUID != uuid {
		err = fmt.Errorf("it is of %s", set.UUID)
	}
	if err != nil {
		return Set{}, fmt.Errorf("load ceilings of %s: %w", path, err)
	}
	set.Source = Measured
	return set, nil
}

// Of is all that is known of a GPU: what was measured on it, and its product's datasheet; ErrUnknown if there is neither. An
// empty UUID has no measurements. A saved file that cannot be read is an error, not a reason to fall back silently.
func (s Store) Of(uuid, product string) (GPU, error) {
	var known GPU
	var missing error
	known.Datasheet, missing = OfDatasheet(product)
	if uuid == "" {
		return known, missing
	}
	measured, err := s.Load(uuid)
	switch {
	case err == nil:
		known.Measured = measured
		return known, nil
	case errors.Is(err, fs.ErrNotExist):
		return known, missing
	}
	return GPU{}, err
}

func unknown(product string) error {
	return fmt.Errorf("%w: nothing measured, and no datasheet of %q", ErrUnknown, product)
}
