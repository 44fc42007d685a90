// Package tracepb is the generated code of the .wscope schema, trace.proto. It owns nothing else:
// framing, column encodings and all judgement of what was read live in agent/trace, its only
// importer.
package tracepb
