// Package e2e runs the built agent and library as a user does, on the simulated device: run, recover,
// inspect, demo, LD_PRELOAD alone, bad input.
//
// It owns tests only and sees warpscope only from outside, through bin/ and what it prints. Nothing
// imports it.
package e2e
