// Command warpscope traces CUDA programs and says what happened in them.
package main

import (
	"context"
	"os"

	"github.com/warpscope/warpscope/agent/cli"
)

func main() {
	os.Exit(cli.Main(context.Background(), cli.System()))
}
