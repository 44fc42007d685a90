// Package lib carries the built capture library inside the agent's binary.
//
// It owns the embedded bytes and nothing else: it never writes them anywhere and never loads them.
// agent/session imports it and extracts the library.
package lib

import (
	"embed"
	"errors"
)

// ErrNotBuilt is returned by an agent that was built without its capture library.
var ErrNotBuilt = errors.New("this warpscope was built without its capture library (build it with make build)")

// The pattern also matches a text file, so that the package compiles where nothing was built yet.
//
//go:embed libwarpscope.*
var files embed.FS

// Library returns the bytes of libwarpscope.so, or ErrNotBuilt.
func Library() ([]byte, error) {
	image, err := files.ReadFile("libwarpscope.so")
	if err != nil || len(image) == 0 {
		return nil, ErrNotBuilt
	}
	return image, nil
}
