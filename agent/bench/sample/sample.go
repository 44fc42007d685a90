// Package sample carries the result of `warpscope bench all` as it was recorded on an H100, for machines without a GPU.
//
// It owns the recorded file alone, and never changes what is in it. agent/cli imports it.
package sample

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/warpscope/warpscope/agent/bench/result"
)

//go:embed data
var data embed.FS

// H100 is the recorded result.
func H100() (*result.Result, error) {
	text, err := data.ReadFile("data/h100.json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("no result of an H100 is bundled in this build")
	}
	if err != nil {
		return nil, err
	}
	r, err := result.Read(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("read the bundled result: %w", err)
	}
	return r, nil
}
