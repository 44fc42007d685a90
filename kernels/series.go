package kernels

/*
#cgo CFLAGS: -std=c11 -O2 -Wall -Wextra

#define _POSIX_C_SOURCE 200809L
#include <stdint.h>
#include <time.h>

struct ws_call {
  uintptr_t call, args[4];
  int count;
};

static int64_t ws_series_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int ws_call_once(const struct ws_call *c) {
  typedef uintptr_t w;
  switch (c->count) {
  case 1: return ((int (*)(w))c->call)(c->args[0]);
  case 2: return ((int (*)(w, w))c->call)(c->args[0], c->args[1]);
  case 3: return ((int (*)(w, w, w))c->call)(c->args[0], c->args[1], c->args[2]);
  case 4: return ((int (*)(w, w, w, w))c->call)(c->args[0], c->args[1], c->args[2], c->args[3]);
  }
  return 1;
}

// Makes two calls in turns, n times; the second one may be none. The first failure ends it.
static int ws_call_loop(struct ws_call first, struct ws_call second, int n, int64_t *ns) {
  int rc = 0;
  const int64_t begin = ws_series_now();
  for (int i = 0; i < n && rc == 0; i++) {
    rc = ws_call_once(&first);
    if (rc == 0 && second.call != 0) rc = ws_call_once(&second);
  }
  *ns = ws_series_now() - begin;
  return rc;
}
*/
import "C"

import (
	"fmt"
	"time"

	"github.com/warpscope/warpscope/cuda"
)

// Series is one or two calls of the driver that C repeats in turns.
type Series struct {
	calls [2]C.struct_ws_call
}

// NewSeries makes calls, at most two, ready for repetition.
func NewSeries(calls ...cuda.Call) (*Series, error) {
	s := &Series{}
	if len(calls) == 0 || len(calls) > len(s.calls) {
		return nil, fmt.Errorf("repeat %d calls: %w", len(calls), cuda.ErrInvalidValue)
	}
	for i, c := range calls {
		to := &s.calls[i]
		if len(c.Args) == 0 || len(c.Args) > len(to.args) {
			return nil, fmt.Errorf("repeat a call with %d arguments: %w", len(c.Args), cuda.ErrInvalidValue)
		}
		to.call, to.count = C.uintptr_t(c.Address), C.int(len(c.Args))
		for j, a := range c.Args {
			to.args[j] = C.uintptr_t(a)
		}
	}
	return s, nil
}

// Run makes the calls n times and returns how long they took, host time.
func (s *Series) Run(n int) (time.Duration, error) {
	var ns C.int64_t
	if code := C.ws_call_loop(s.calls[0], s.calls[1], C.int(n), &ns); code != 0 {
		return 0, fmt.Errorf("repeat calls: %w", cuda.Result(code))
	}
	return time.Duration(ns), nil
}
