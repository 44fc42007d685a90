package doctor

import (
	"fmt"
	"strings"

	"github.com/warpscope/warpscope/agent/analyze"
)

const modelLoadID = "memory.model-load"

// loading says whether a role is what a model is made of before it works.
func loading(r analyze.Role) bool { return r == analyze.RoleParameters || r == analyze.RoleLoaded }

// worked says whether the program has gone past loading: a step was taken, or something was computed.
func worked(c *MemoryCase, h *analyze.Holding) bool {
	if a := c.T.Added; a != nil && a.Progress != nil && a.Progress.Steps > 0 {
		return true
	}
	computed := uint64(0)
	for _, r := range []analyze.Role{analyze.RoleForward, analyze.RoleBackward, analyze.RoleGradients, analyze.RoleOptimizer, analyze.RoleStep, analyze.RoleCache, analyze.RoleLogits} {
		computed += h.Role(r).Bytes
	}
	return part(computed, h.Requested) > 0.05
}

// modelLoad: the model does not fit, or exists twice while it is loaded.
func modelLoad() MemoryRule {
	return MemoryRule{ID: modelLoadID, What: "a model that does not fit, or is there twice while it is loaded", judge: func(c *MemoryCase) (*Finding, string, string) {
		h, _ := c.moment()
		f := c.failure()
		switch {
		case h == nil:
			return nil, "", "a message does not say what the tensors are"
		case f == nil:
			return nil, "no allocation failed", ""
		}
		parameters, loaded := h.Role(analyze.RoleParameters).Bytes, h.Role(analyze.RoleLoaded).Bytes
		at := analyze.RoleOfLines(f.Stack)
		if worked(c, h) || !loading(at) {
			return nil, fmt.Sprintf("%s of %s in tensors are the model's or a checkpoint's, and the failure was not in loading", size(parameters+loaded), size(h.Requested)), ""
		}
		line, callers := lineText(f.Stack, analyze.GuiltyLine(f.Stack))
		if line == "" {
			line = "a line that is not known"
		}
		if part(loaded, h.Requested) >= 0.1 && part(parameters, h.Requested) >= 0.2 || at == analyze.RoleLoaded && part(parameters, h.Requested) >= 0.2 {
			return doubled(c, h, parameters, loaded, line, callers), "", ""
		}
		if part(parameters+loaded, h.Requested) < 0.6 {
			return nil, fmt.Sprintf("%s of %s in tensors are the model's", size(parameters+loaded), size(h.Requested)), ""
		}
		return tooLarge(c, h, parameters+loaded, line, callers), "", ""
	}}
}

// loadEvidence is what both kinds rest on.
func loadEvidence(c *MemoryCase, h *analyze.Holding, line, callers string) []Evidence {
	out := []Evidence{bytesOf("asked for when it failed, at "+line, c.wanted(), Counted, callers)}
	if total := c.capacity(); total > 0 {
		out = append(out, bytesOf("on the GPU in all", total, Counted, ""))
	}
	return append(out, stackEvidence(h, 3, func(s *analyze.StackHolding) bool { return loading(s.Role) })...)
}

func tooLarge(c *MemoryCase, h *analyze.Holding, bytes uint64, line, callers string) *Finding {
	out := &Finding{
		Title:      fmt.Sprintf("The model does not fit: %s of it were there when the next part failed, at %s", size(bytes), line),
		Confidence: High, Severity: Error, decisive: true, Cost: Cost{Bytes: bytes, Share: part(bytes, h.Reserved), Source: held(h)},
		Evidence: append([]Evidence{bytesOf("in the model's tensors when it failed", bytes, held(h), percent(part(bytes, h.Requested))+" of all in tensors")}, loadEvidence(c, h, line, callers)...),
		Fix: []Fix{
			{Change: "load the weights in 16 bits, if they are in 32", Direction: "lower", Gain: "half: " + size(bytes/2), Paste: "AutoModelForCausalLM.from_pretrained(name, dtype=torch.bfloat16)\ntorch.set_default_dtype(torch.bfloat16)   # before the model is made"},
			{
				Change: "load them in 8 or 4 bits, where the model is not trained", Direction: "lower", Gain: fmt.Sprintf("half (8 bits) or seven tenths (4 bits, scales included) of 16-bit weights: %s or %s", size(bytes/2), size(bytes*7/10)),
				Paste: "from transformers import BitsAndBytesConfig\nAutoModelForCausalLM.from_pretrained(name, quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.bfloat16, bnb_4bit_use_double_quant=True))",
			},
			{
				Change: "divide it among several GPUs", Direction: "add", Gain: "all but one part in the number of GPUs",
				Paste: "AutoModelForCausalLM.from_pretrained(name, device_map=\"auto\")\nvllm serve NAME --tensor-parallel-size 2\n{\"zero_optimization\": {\"stage\": 3, \"offload_param\": {\"device\": \"cpu\", \"pin_memory\": true}}}   # DeepSpeed",
			},
			{Change: "leave layers in host memory until they are used", Direction: "replace", Gain: "what stays there; each use copies it", Paste: "from accelerate import cpu_offload\ncpu_offload(model, execution_device=\"cuda\")"},
		},
		RuledOut: []string{"a smaller batch, gradient checkpointing: nothing was computed yet", "torch.cuda.empty_cache(): nearly all that is reserved is in the model's tensors"},
	}
	if total := c.capacity(); total > 0 {
		out.Title += fmt.Sprintf("; the GPU has %s", size(total))
	}
	return out
}

func doubled(c *MemoryCase, h *analyze.Holding, parameters, loaded uint64, line, callers string) *Finding {
	copyLine := guiltyText(h, isRole(analyze.RoleLoaded))
	if copyLine == "" {
		copyLine = line
	}
	return &Finding{
		Title:      fmt.Sprintf("The model is on the GPU twice while it is loaded: %s, and beside it %s of a checkpoint, made at %s", size(parameters), size(loaded), copyLine),
		Confidence: High, Severity: Error, decisive: true, Cost: Cost{Bytes: loaded, Share: part(loaded, h.Reserved), Source: held(h)},
		Evidence: append([]Evidence{
			bytesOf("in the checkpoint's tensors when it failed", loaded, held(h), "made at "+copyLine), bytesOf("in the model's own", parameters, held(h), ""),
		}, loadEvidence(c, h, line, callers)...),
		Fix: []Fix{
			{
				Change: "read the checkpoint into host memory, and copy it tensor by tensor", Direction: "replace", Gain: "the checkpoint's part: " + size(loaded),
				Paste: strings.Join([]string{
					"state = torch.load(path, map_location=\"cpu\", mmap=True, weights_only=True)   # or safetensors.torch.load_file(path)",
					"model.load_state_dict(state)",
				}, "\n"),
			},
			{
				Change: "or make the model without memory, and take the checkpoint's tensors for its own", Direction: "replace", Gain: "the model's part: " + size(parameters),
				Paste: "with torch.device(\"meta\"): model = Model(config)\nmodel.load_state_dict(torch.load(path, map_location=\"cuda\", weights_only=True), assign=True)",
			},
		},
		RuledOut: []string{"a model that is too large: without the second copy there would be " + size(loaded) + " more"},
	}
}
