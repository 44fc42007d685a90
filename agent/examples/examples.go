package examples

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

//go:embed cases
var cases embed.FS

// Example is a recorded case.
type Example struct {
	Name  string `json:"name"`
	About string `json:"about"` // a sentence
}

// List returns all examples, by name.
func List() ([]Example, error) {
	folders, err := fs.ReadDir(cases, "cases")
	if err != nil {
		return nil, err
	}
	var out []Example
	for _, f := range folders {
		about, err := fs.ReadFile(cases, path.Join("cases", f.Name(), "about.txt"))
		if err != nil {
			return nil, fmt.Errorf("read example %s: %w", f.Name(), err)
		}
		out = append(out, Example{Name: f.Name(), About: strings.TrimSpace(string(about))})
	}
	return out, nil
}

// Write puts the files of an example into a folder, and returns the one to diagnose: the trace, or without one the
// snapshot. fs.ErrNotExist: there is no such example.
func Write(name, folder string) (string, error) {
	if !fs.ValidPath(name) || strings.Contains(name, "/") || name == "." {
		return "", fs.ErrNotExist
	}
	files, err := fs.ReadDir(cases, path.Join("cases", name))
	if err != nil {
		return "", err
	}
	open := ""
	for _, f := range files {
		data, err := fs.ReadFile(cases, path.Join("cases", name, f.Name()))
		if err != nil {
			return "", err
		}
		to := filepath.Join(folder, f.Name())
		if err := os.WriteFile(to, data, 0o600); err != nil {
			return "", fmt.Errorf("write example: %w", err)
		}
		switch filepath.Ext(to) {
		case ".wscope":
			open = to
		case ".pickle":
			if open == "" {
				open = to
			}
		}
	}
	return open, nil
}
