package kernels

/*
#cgo CFLAGS: -std=c11 -O2 -Wall -Wextra

#define _POSIX_C_SOURCE 200809L
#include <stdint.h>
#include <string.h>
#include <time.h>

typedef int (*ws_launch_kernel)(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                                unsigned shared, void *stream, void **params, void **extra);

struct ws_launch {
  uintptr_t call, function, stream;
  unsigned grid[3], block[3], shared;
  int count;
};

static int64_t ws_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

// Launches n times, each time followed by `then` (a call with one argument) unless that is 0; the first failure ends it. Parameters are copied
// to where all of them are aligned.
static int ws_launch_loop(struct ws_launch l, const char *params, uint64_t size, const uint64_t *offsets, int n, uintptr_t then,
                          uintptr_t argument, int64_t *ns) {
  enum { MOST = 32, BYTES = 4096, ALIGN = 128 };
  _Alignas(ALIGN) char values[BYTES];
  void *pointers[MOST + 1];
  if (l.count > MOST || size > BYTES) return 1;
  memcpy(values, params, size);
  for (int i = 0; i < l.count; i++) pointers[i] = values + offsets[i];
  ws_launch_kernel launch = (ws_launch_kernel)l.call;
  int rc = 0;
  const int64_t begin = ws_now();
  for (int i = 0; i < n && rc == 0; i++) {
    rc = launch((void *)l.function, l.grid[0], l.grid[1], l.grid[2], l.block[0], l.block[1], l.block[2], l.shared,
                (void *)l.stream, pointers, 0);
    if (rc == 0 && then != 0) rc = ((int (*)(uintptr_t))then)(argument);
  }
  *ns = ws_now() - begin;
  return rc;
}
*/
import "C"

import (
	"fmt"
	"time"
	"unsafe"

	"github.com/warpscope/warpscope/cuda"
)

// Loop is a launch that C repeats, so that neither Go nor purego stands between two launches.
type Loop struct {
	kernel  string
	call    C.struct_ws_launch
	params  []byte
	offsets []uint64
}

// Loop prepares the launch for repetition in the stream; f is the kernel that its name says.
func (l Launch) Loop(s *cuda.Stream, f *cuda.Function) (*Loop, error) {
	p, err := s.Prepare(f, l.Config, l.Args...)
	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", l.Kernel, err)
	}
	g, b := p.Config.Grid, p.Config.Block
	return &Loop{
		kernel: l.Kernel,
		call: C.struct_ws_launch{
			call: C.uintptr_t(p.Call), function: C.uintptr_t(p.Function), stream: C.uintptr_t(p.Stream),
			grid:   [3]C.uint{C.uint(g[0]), C.uint(g[1]), C.uint(g[2])},
			block:  [3]C.uint{C.uint(b[0]), C.uint(b[1]), C.uint(b[2])},
			shared: C.uint(p.Config.Shared), count: C.int(len(p.Offsets)),
		},
		params:  append(p.Params, 0), // never empty: their first elements are passed
		offsets: append(p.Offsets, 0),
	}, nil
}

// Run launches n times and does not wait for the kernels; it returns how long the calls took, host time. The calling
// goroutine must be inside Context.Do.
func (l *Loop) Run(n int) (time.Duration, error) { return l.run(n, 0, 0) }

// RunThen is Run with a call of one argument after each launch, such as one that waits.
func (l *Loop) RunThen(n int, then cuda.Call) (time.Duration, error) {
	if len(then.Args) != 1 {
		return 0, fmt.Errorf("launch %s, then a call with %d arguments: %w", l.kernel, len(then.Args), cuda.ErrInvalidValue)
	}
	return l.run(n, C.uintptr_t(then.Address), C.uintptr_t(then.Args[0]))
}

func (l *Loop) run(n int, then, argument C.uintptr_t) (time.Duration, error) {
	var ns C.int64_t
	code := C.ws_launch_loop(l.call, (*C.char)(unsafe.Pointer(&l.params[0])), C.uint64_t(len(l.params)),
		(*C.uint64_t)(unsafe.Pointer(&l.offsets[0])), C.int(n), then, argument, &ns)
	if code != 0 {
		return 0, fmt.Errorf("launch %s: %w", l.kernel, cuda.Result(code))
	}
	return time.Duration(ns), nil
}
