// Package abi is the Go mirror of cupti/include/ws_abi.h: the layout of the memory that a traced
// process shares with its reader.
//
// It owns nothing but generated declarations: no code, no cgo. Fields keep their C names with a capital (cgo
// drops a prefix that all fields with an underscore share: graph_node is Node),
// constants follow WS_REC_KERNEL → RecKernel and struct ws_kernel → Kernel. agent/collect imports
// it, and the tests that play a traced process.
package abi

//go:generate ./generate.sh
