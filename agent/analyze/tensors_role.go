package analyze

import (
	"fmt"
	"strings"

	"github.com/warpscope/warpscope/agent/event"
)

// Role is what a tensor is for, as far as the stack that allocated it tells.
type Role string

// The roles.
const (
	RoleParameters Role = "parameters"
	RoleOptimizer  Role = "optimizer state"
	RoleStep       Role = "temporaries of the optimizer's step"
	RoleGradients  Role = "gradients"
	RoleLogits     Role = "logits and loss"
	RoleCache      Role = "KV cache"
	RoleLoaded     Role = "checkpoint"
	RoleInputs     Role = "inputs"
	RoleForward    Role = "activations"
	RoleBackward   Role = "backward pass"
	RoleOther      Role = "other"
	RoleNone       Role = "without a stack"
)

// Line is a place in a program.
type Line struct {
	Function string `json:"function"`
	File     string `json:"file"`
	Line     int32  `json:"line"`
}

// String writes a place: "train.py:12 in forward".
func (l Line) String() string {
	file := l.File
	if at := strings.LastIndexByte(file, '/'); at >= 0 {
		file = file[at+1:]
	}
	switch {
	case file == "" || file == "??":
		return l.Function
	case l.Line == 0:
		return file + " in " + l.Function
	}
	return fmt.Sprintf("%s:%d in %s", file, l.Line, l.Function)
}

// StackLines returns a stack of a snapshot, innermost first.
func StackLines(s *event.Snapshot, stack uint32) []Line {
	if uint64(stack) >= uint64(len(s.Stacks)) {
		return nil
	}
	return linesOf(s, stack)
}

func linesOf(s *event.Snapshot, stack uint32) []Line {
	out := make([]Line, 0, len(s.Stacks[stack]))
	for _, i := range s.Stacks[stack] {
		l := &s.Lines[i]
		out = append(out, Line{l.Function, l.File, l.Line})
	}
	return out
}

// library says whether a file belongs to Python or to a package, not to the program.
func library(file string) bool {
	for _, part := range []string{"site-packages/", "dist-packages/", "/lib/python3", "<frozen", "<string>", "/torch/", "importlib", "??"} {
		if strings.Contains(file, part) {
			return true
		}
	}
	return !strings.HasSuffix(file, ".py") && !strings.Contains(file, "ipykernel") && !strings.HasPrefix(file, "<ipython")
}

// GuiltyLine returns the index of the innermost line that is the program's own; without one, of the
// innermost line of Python; -1: there is none.
func GuiltyLine(stack []Line) int {
	python := -1
	for i := range stack {
		if !library(stack[i].File) {
			return i
		}
		if python < 0 && strings.HasSuffix(stack[i].File, ".py") {
			python = i
		}
	}
	return python
}

// roleOf tells a tensor's role from who allocated it: the innermost line that says something counts.
func roleOf(s *event.Snapshot, stack uint32) Role {
	lines := s.Stacks[stack]
	if len(lines) == 0 {
		return RoleNone
	}
	backward, forward, loaded := false, false, false
	for _, i := range lines {
		l := &s.Lines[i]
		if r := lineRole(l.Function, l.File); r != "" {
			switch r {
			case RoleForward:
				forward = true
				continue // what contains it may say more: the loss, a cache, an optimizer
			case RoleBackward:
				backward = true
				continue
			case RoleLoaded:
				loaded = true
				continue // inside from_pretrained it is the model itself
			}
			return r
		}
	}
	switch {
	case loaded:
		return RoleLoaded
	case backward:
		return RoleBackward
	case forward:
		return RoleForward
	}
	return RoleOther
}

func lineRole(function, file string) Role {
	has := func(text string, parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(text, p) {
				return true
			}
		}
		return false
	}
	switch {
	case has(file, "/optim/", "/optimizers/", "optimizer.py"):
		if has(function, "_init_group", "init_state", "init_group", "_init_state") {
			return RoleOptimizer
		}
		if has(function, "step", "adam", "sgd", "foreach", "fused", "adagrad", "rmsprop", "lamb", "muon", "update") {
			return RoleStep
		}
	case has(function, "cross_entropy", "log_softmax", "nll_loss", "lm_head", "compute_logits") || has(file, "/loss.py", "loss_utils.py"):
		return RoleLogits
	case has(file, "cache_utils.py", "kv_cache", "kvcache", "block_manager", "cache_engine") || has(function, "kv_cache", "past_key_value", "update_cache"):
		return RoleCache
	case has(function, "AccumulateGrad"):
		return RoleGradients
	case has(function, "_engine_run_backward", "torch::autograd::Engine", "::Engine::") || function == "backward" && has(file, "torch/"):
		return RoleBackward
	case has(function, "load_state_dict", "from_pretrained", "_load_pretrained", "reset_parameters", "init_weights", "_load_state_dict_into_model"):
		return RoleParameters
	case has(function, "_rebuild_tensor", "load_file", "_load_file", "load_checkpoint", "read_checkpoint", "load_weights", "restore_location") ||
		has(function, "load") && has(file, "torch/serialization.py", "safetensors"):
		return RoleLoaded
	case has(file, "torch/utils/data/"):
		return RoleInputs
	case function == "_apply" && has(file, "nn/modules/module.py"):
		return RoleParameters
	case function == "__init__" && has(file, "nn/modules/"):
		return RoleParameters
	case function == "forward" || has(function, "_call_impl", "_wrapped_call_impl", "_fn_forward"):
		return RoleForward
	}
	return ""
}

func poolName(s *event.Snapshot, pool uint32) string {
	k := s.Pools[pool]
	if k == (event.PoolKey{}) {
		return "default"
	}
	return fmt.Sprintf("private %d,%d", k.First, k.Second)
}

// RoleOfLines tells a tensor's role from the stack that allocated it, innermost line first.
func RoleOfLines(stack []Line) Role {
	s := &event.Snapshot{Stacks: [][]uint32{nil, nil}}
	for i, l := range stack {
		s.Lines = append(s.Lines, event.SourceLine{Function: l.Function, File: l.File, Line: l.Line})
		s.Stacks[1] = append(s.Stacks[1], uint32(i))
	}
	return roleOf(s, 1)
}
