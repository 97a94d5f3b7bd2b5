// Mediamagic is an API whose keys belong to a workspace and an environment, as
// configuration: the prefix says live or sandbox, and each refusal says exactly why.
//
//	go run ./examples/systems/mediamagic
package main

import "github.com/keytoll/keytoll/examples/systems/internal/host"

func main() { host.Main(system()) }
