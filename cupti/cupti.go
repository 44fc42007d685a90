// Package cupti is the capture core of libwarpscope.so, compiled into the agent: it records the
// agent's own GPU work in process, and lets the decoder be tested from Go.
//
// It owns the C sources beside it (the core; preload/ has what only the library needs) and the
// memory of an in-process capture. It never interprets that memory: agent/collect reads it. It
// imports nothing of warpscope; demo and bench import it.
package cupti

/*
#cgo CFLAGS: -std=c11 -O2 -fvisibility=hidden -Wall -Wextra
#cgo LDFLAGS: -ldl -lpthread

#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>

#include "ws_capture.h"
#include "ws_replay.h"

static struct ws_shm ws_own;

static void *ws_map(uint64_t size) {
  void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return p == MAP_FAILED ? NULL : p;
}

static int ws_own_start(void *base, struct ws_sizes sizes, struct ws_config config) {
  ws_shm_format(&ws_own, base, &sizes, -1);
  return ws_capture_start(&ws_own, &config);
}

static int64_t ws_replay_into(void *base, struct ws_sizes sizes, const uint8_t *dump, size_t size) {
  struct ws_shm shm;
  ws_shm_format(&shm, base, &sizes, -1);
  ws_shm_publish(&shm);
  return ws_replay(&shm, dump, size);
}
*/
import "C"

import (
	"errors"
	"fmt"
	"sync"
	"time"
	"unsafe"
)

// Config says what an in-process capture records; the numbers are those of ws_abi.h.
type Config struct {
	Mode      uint32 // ws_mode: 1 ledger, 2 timeline
	API       uint32 // ws_api_level: 0 none, 1 launch, 2 all
	Graphs    uint32 // ws_graph_level: 0 graph, 1 node
	AllocRing uint64 // bytes of each region
	Timeline  uint64
	LiveTable uint64
	Arena     uint64
}

// Errors of Start; both name what is missing.
var (
	ErrRunning = errors.New("start in-process capture: this process is captured already")
	ErrRefused = errors.New("start in-process capture: CUPTI is missing or refused; the capture's header says why")
)

const (
	mib            = 1 << 20
	flagInProcess  = C.WS_FLAG_INPROCESS
	defaultArena   = 64 * mib
	defaultLive    = 4 * mib
	defaultAlloc   = 16 * mib
	defaultRecords = 64 * mib
)

func (c Config) sizes() C.struct_ws_sizes {
	or := func(n, otherwise uint64) C.uint64_t {
		if n == 0 {
			n = otherwise
		}
		return C.uint64_t(n)
	}
	return C.struct_ws_sizes{
		alloc_ring:    or(c.AllocRing, defaultAlloc),
		timeline_ring: or(c.Timeline, defaultRecords),
		live_table:    or(c.LiveTable, defaultLive),
		arena:         or(c.Arena, defaultArena),
	}
}

// Capture is a running in-process capture.
type Capture struct {
	memory []byte
}

var (
	mu      sync.Mutex
	started bool
)

// Start begins recording this process's GPU work. The CUDA driver must be loaded and cuInit called.
// A process has one capture in its life: a second Start gives ErrRunning. With ErrRefused the
// Capture is valid and its memory says why.
func Start(config Config) (*Capture, error) {
	mu.Lock()
	defer mu.Unlock()
	if started {
		return nil, ErrRunning
	}
	sizes := config.sizes()
	memory, err := allocate(sizes)
	if err != nil {
		return nil, err
	}
	started = true
	ok := C.ws_own_start(unsafe.Pointer(&memory[0]), sizes, C.struct_ws_config{
		mode:   C.uint32_t(config.Mode),
		api:    C.uint32_t(config.API),
		graphs: C.uint32_t(config.Graphs),
		flags:  flagInProcess,
	})
	c := &Capture{memory: memory}
	if ok == 0 {
		return c, ErrRefused
	}
	return c, nil
}

// Memory is the capture's shared memory, laid out as ws_abi.h says. It stays mapped for the life of
// the process, since CUPTI may call back at any time.
func (c *Capture) Memory() []byte { return c.memory }

// Stop flushes what CUPTI has, waiting at most the timeout, and ends the capture. The memory can be
// read to its end afterwards.
func (c *Capture) Stop(timeout time.Duration) {
	C.ws_capture_finish(C.uint(timeout.Milliseconds()))
}

// Replay decodes recorded CUPTI records (a file of tools/rawdump.c) into fresh memory laid out as
// ws_abi.h says, and returns it with the number of records.
func Replay(dump []byte) ([]byte, int64, error) {
	if len(dump) == 0 {
		return nil, 0, errors.New("replay CUPTI records: the file is empty")
	}
	sizes := Config{AllocRing: mib, Timeline: 16 * mib, LiveTable: mib, Arena: 16 * mib}.sizes()
	memory, err := allocate(sizes)
	if err != nil {
		return nil, 0, err
	}
	n := C.ws_replay_into(unsafe.Pointer(&memory[0]), sizes, (*C.uint8_t)(unsafe.Pointer(&dump[0])), C.size_t(len(dump)))
	switch {
	case n == -1:
		return nil, 0, errors.New("replay CUPTI records: not a file of rawdump")
	case n < 0:
		return nil, 0, errors.New("replay CUPTI records: the file is damaged")
	}
	return memory, int64(n), nil
}

func allocate(sizes C.struct_ws_sizes) ([]byte, error) {
	size := C.ws_shm_size(&sizes)
	p := C.ws_map(size)
	if p == nil {
		return nil, fmt.Errorf("map %d bytes for a capture: out of memory", uint64(size))
	}
	return unsafe.Slice((*byte)(p), uint64(size)), nil
}
