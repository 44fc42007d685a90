// Package version says which version of warpscope this is.
//
// It owns the one variable that a release sets and the fallback to what the Go toolchain recorded.
// It imports nothing of warpscope; whoever names the tool, on the terminal or in a trace, uses it.
package version

import "runtime/debug"

// version is set by the linker: -X github.com/warpscope/warpscope/agent/version.version=1.2.3
var version string

// String returns the version, like "0.1.0", or "dev" with the commit where no release was made.
func String() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "dev"
	}
	return fromBuild(info)
}

func fromBuild(info *debug.BuildInfo) string {
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	revision, dirty := "", ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value[:min(len(s.Value), 12)]
		case "vcs.modified":
			if s.Value == "true" {
				dirty = "+changes"
			}
		}
	}
	if revision == "" {
		return "dev"
	}
	return "dev-" + revision + dirty
}
