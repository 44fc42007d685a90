// Package pickle reads Python pickles that hold data only: None, booleans, integers, floats, texts,
// lists, tuples and dicts, in protocols 0 to 5.
//
// It executes nothing. An opcode that would look up a name, call something or build an object is
// refused, with the name that it asks for and where it stands. Memory is bounded whatever a pickle
// declares; nesting costs nothing, since no part of it recurses. What is read lies in a [Heap] of
// compact [Value]s, and a [Builder] can put its own records in the place of dicts and lists while
// they are read, so that a pickle of hundreds of megabytes takes a part of its size.
//
// It opens no files and knows no format beyond pickle itself. agent/exchange imports it.
package pickle
