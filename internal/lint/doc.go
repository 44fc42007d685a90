// Package lint holds the rules of the house as tests: who may import whom, where foreign code may be
// called, that every package says what it is, and how long a file may be.
//
// It owns no code that anything runs, only its tests; nothing imports it.
package lint
