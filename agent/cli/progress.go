package cli

import (
	"fmt"
	"io"
	"os"
	"time"
)

const (
	// progressBytes is from which size on a file is worth a word: smaller ones are read at once.
	progressBytes = 8 << 20
	// progressPause is how long nothing is said, and how often what is said changes.
	progressPause = 300 * time.Millisecond
)

// progress reads a large file and says on stderr how far it has come, if that is a terminal.
type progress struct {
	*os.File
	env   *Env
	size  int64
	at    int64
	next  time.Time
	shown bool
}

// openWithProgress opens a file that is worth it; nil without an error: it is not.
func openWithProgress(env *Env, file string) (*progress, error) {
	if env.Terminal == nil {
		return nil, nil
	}
	if _, terminal := env.Terminal(env.Stderr); !terminal {
		return nil, nil
	}
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() || info.Size() < progressBytes {
		return nil, nil //nolint:nilerror // whoever opens it tells why it cannot be
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	return &progress{File: f, env: env, size: info.Size(), next: env.Now().Add(progressPause)}, nil
}

// Read reads on, and now and then says how far.
func (p *progress) Read(b []byte) (int, error) {
	n, err := p.File.Read(b)
	p.at += int64(n)
	if now := p.env.Now(); now.After(p.next) {
		p.next = now.Add(progressPause)
		p.shown = true
		fmt.Fprintf(p.env.Stderr, "\rreading %s: %d%%", p.Name(), min(p.at*100/p.size, 100))
	}
	return n, err
}

// Seek moves to where the next part is read.
func (p *progress) Seek(offset int64, whence int) (int64, error) {
	at, err := p.File.Seek(offset, whence)
	if err == nil {
		p.at = at
	}
	return at, err
}

// Close wipes out what was said.
func (p *progress) Close() error {
	if p.shown {
		fmt.Fprint(p.env.Stderr, "\r\x1b[K")
		p.shown = false
	}
	return p.File.Close()
}

var _ io.ReadSeekCloser = (*progress)(nil)
