package session

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warpscope/warpscope/agent/collect"
	"github.com/warpscope/warpscope/agent/event"
)

// CalibrateCommand is the agent's command that measures what a context takes, in a process of its own.
const CalibrateCommand = "calibrate"

// calibrationVersion is of what is measured: figures of another one are not used.
const calibrationVersion = "3"

// calibrateLimit bounds how long that may take. A driver without persistence mode needs some seconds.
const calibrateLimit = 8 * time.Second

// Calibration is what a context took of a GPU in a process that did nothing else, in bytes.
type Calibration struct {
	UUID    string `json:"uuid"`
	GPU     string `json:"gpu"` // its name
	Driver  string `json:"driver"`
	Context int64  `json:"context_bytes"` // a context alone
	Kernels int64  `json:"kernels_bytes"` // more, with device code that has assertions; -1 not known
	Unowned int64  `json:"unowned_bytes"` // then used on the GPU by no process; -1 not known
	// Capture is how much more both took with the capture library; -1 not known.
	Capture int64  `json:"capture_bytes"`
	Library string `json:"capture_library,omitempty"` // and CUPTI
}

// calibrate adds to the trace what contexts take of the GPUs that were used. Measured is one GPU of each
// model, after the program has ended, and only once: the figures are kept beside the library. Who has interrupted the
// program does not wait for that.
func (s *session) calibrate(ended exit) {
	if s.config.Self == "" || s.foreign != "" {
		return
	}
	status := slices.DeleteFunc(s.server.Processes(), func(p collect.Status) bool { return p.Simulated })
	if len(status) == 0 {
		return
	}
	used := s.sampler.Used(func(pid int32) bool {
		return slices.ContainsFunc(status, func(p collect.Status) bool { return p.PID == pid })
	})
	byModel := map[string]*Calibration{}
	var batch event.Batch
	for i, g := range s.system.GPUs() {
		if !used[i] || g.Index < 0 { // a MIG instance is not measured
			continue
		}
		c, ok := byModel[g.Name]
		if !ok {
			var err error
			if c, err = s.calibration(g, cuptiOf(status), ended.signal == 0 || !ends(ended.signal)); err != nil {
				s.notes = append(s.notes, "what a context takes of "+g.Name+" was not measured: "+err.Error())
			}
			byModel[g.Name] = c
		}
		if c != nil {
			s.addCalibration(&batch, s.server.GPU(g), c)
		}
	}
	if len(batch.Facts.Time) > 0 {
		_ = s.server.Emit(&batch) // the sink's failures are kept there
	}
}

func (s *session) addCalibration(batch *event.Batch, gpu event.GPUID, c *Calibration) {
	f, now := &batch.Facts, monotonic()
	text := s.server.Text("driver " + c.Driver)
	for _, fact := range []struct {
		name  string
		value int64
	}{{event.FactContext, c.Context}, {event.FactKernels, c.Kernels}, {event.FactCapture, c.Capture}, {event.FactUnowned, c.Unowned}} {
		if fact.value < 0 {
			continue
		}
		f.Time = append(f.Time, now)
		f.GPU = append(f.GPU, gpu)
		f.PID = append(f.PID, 0)
		f.Name = append(f.Name, s.server.Text(fact.name))
		f.Value = append(f.Value, fact.value)
		f.Text = append(f.Text, text)
	}
}

// calibration returns the figures of a GPU: those that are kept, or new ones. nil: there are none, and none are wanted.
func (s *session) calibration(g event.GPU, cupti string, wanted bool) (*Calibration, error) {
	key := sha256.Sum256([]byte(strings.Join([]string{calibrationVersion, g.Name, fmt.Sprint(g.Memory), s.system.Driver(), s.library, cupti}, "\n")))
	name := "context-" + hex.EncodeToString(key[:8]) + ".json"
	homes := libraryHomes(s.config.Environ, os.Geteuid())
	for _, home := range homes {
		if c := readCalibration(filepath.Join(home, name)); c != nil {
			return c, nil
		}
	}
	if !wanted {
		return nil, nil
	}
	c, err := s.measure(g, cupti)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	for _, home := range homes {
		if os.MkdirAll(home, 0o700) == nil && writeWhole(filepath.Join(home, name), text) == nil {
			break
		}
	}
	return c, nil
}

func readCalibration(path string) *Calibration {
	const most = 1 << 16
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }() // it was read only
	// In a folder that is everybody's the figures could be anybody's.
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > most || int(st.Uid) != os.Geteuid() {
		return nil
	}
	var c Calibration
	if json.NewDecoder(f).Decode(&c) != nil || c.Context <= 0 {
		return nil
	}
	return &c
}

func writeWhole(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".context-")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// measure runs the agent twice at a time: as it is, and with the capture library.
func (s *session) measure(g event.GPU, cupti string) (*Calibration, error) {
	folder, err := os.MkdirTemp("", "warpscope-calibrate-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(folder) }() // a leftover in the temporary folder harms nobody
	clean := s.config.Environ
	for _, name := range []string{injectionVariable, nvtxVariable, preloadVariable, socketVariable} {
		clean = without(clean, name)
	}
	clean = with(clean, "CUDA_VISIBLE_DEVICES", g.UUID)
	injected := with(with(with(clean, injectionVariable, s.library), "WARPSCOPE_DIR", folder), "WARPSCOPE_MODE", "ledger")
	injected = with(injected, "WARPSCOPE_QUIET", "1")
	if cupti != "" {
		injected = with(injected, "WARPSCOPE_CUPTI", cupti)
	}
	var bare, captured *Calibration
	var failed, failed2 error
	var work sync.WaitGroup
	work.Go(func() { bare, failed = calibrateIn(s.config.Self, g.UUID, clean) })
	work.Go(func() { captured, failed2 = calibrateIn(s.config.Self, g.UUID, injected) })
	work.Wait()
	if failed != nil {
		return nil, failed
	}
	bare.Driver, bare.GPU, bare.Capture = s.system.Driver(), g.Name, -1
	if failed2 == nil {
		// While the other's context was being made, NVML may have counted it and not named its process.
		if captured.Unowned >= 0 && (bare.Unowned < 0 || captured.Unowned < bare.Unowned) {
			bare.Unowned = captured.Unowned
		}
		if more := captured.Context + max(captured.Kernels, 0) - bare.Context - max(bare.Kernels, 0); more >= 0 {
			bare.Capture, bare.Library = more, cupti
		}
	}
	return bare, nil
}

// calibrateIn runs the agent's command that measures.
func calibrateIn(self, uuid string, environ []string) (*Calibration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), calibrateLimit)
	defer cancel()
	var out, errs bytes.Buffer
	command := exec.CommandContext(ctx, self, CalibrateCommand, uuid)
	command.Env, command.Stdout, command.Stderr = environ, &out, &errs
	command.WaitDelay = time.Second
	if err := command.Run(); err != nil {
		if text := strings.TrimSpace(errs.String()); text != "" {
			text, _, _ = strings.Cut(text, "\n")
			return nil, errors.New(strings.TrimPrefix(text, "warpscope: "))
		}
		return nil, err
	}
	var c Calibration
	if err := json.Unmarshal(out.Bytes(), &c); err != nil {
		return nil, fmt.Errorf("read what was measured: %w", err)
	}
	return &c, nil
}

// without returns environ without a variable.
func without(environ []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		key, _, ok := strings.Cut(entry, "=")
		return ok && key == name
	})
}

// cuptiOf returns the CUPTI that the traced processes used; "": none.
func cuptiOf(processes []collect.Status) string {
	for _, p := range processes {
		if p.CUPTIPath != "" {
			return p.CUPTIPath
		}
	}
	return ""
}
