package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// canReplace says early whether replaceFile will find its place; an empty path is none.
func canReplace(what, path string) error {
	folder, special, err := placeOf(what, path)
	if err != nil || special || path == "" {
		return err
	}
	f, err := beside(what, path, folder)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// replaceFile writes a file beside its place and then puts it there whole, for its owner alone: what was there before stays until then. A device or a
// pipe is written to. It returns the bytes written; an error of its own says what was to be created.
func replaceFile(what, path string, fill func(io.Writer) error) (int64, error) {
	folder, special, err := placeOf(what, path)
	if err != nil {
		return 0, err
	}
	if special {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return 0, err
		}
		count := &counted{Writer: f}
		err = errors.Join(fill(count), f.Close())
		return count.n, err
	}
	f, err := beside(what, path, folder)
	if err != nil {
		return 0, err
	}
	err = fill(f)
	size, seekErr := f.Seek(0, io.SeekEnd)
	if err = errors.Join(err, seekErr, f.Close()); err == nil {
		if to, linkErr := filepath.EvalSymlinks(path); linkErr == nil {
			path = to
		}
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return 0, errors.Join(err, os.Remove(f.Name()))
	}
	return size, nil
}

// placeOf is the folder in which a file is or will be; special: it is a device or a pipe.
func placeOf(what, path string) (folder string, special bool, err error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return filepath.Dir(path), false, nil
	case info.IsDir():
		return "", false, fmt.Errorf("create %s: %s is a folder", what, path)
	case !info.Mode().IsRegular():
		return "", true, nil
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", false, err
	}
	return filepath.Dir(path), false, nil
}

// beside is a new file where another one is to be.
func beside(what, path, folder string) (*os.File, error) {
	f, err := os.CreateTemp(folder, ".warpscope-*") // 0600
	if err != nil {
		return nil, fmt.Errorf("create %s %s: %w", what, path, err)
	}
	return f, nil
}

// counted counts what is written.
type counted struct {
	io.Writer
	n int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n += int64(n)
	return n, err
}
