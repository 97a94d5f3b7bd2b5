package scopes_test

import (
	"encoding/json"
	"fmt"

	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/scopes"
)

// An operation states once what it asks for, and checks each key against it.
func Example() {
	granted, err := scopes.Parse("models:read image:*")
	if err != nil {
		panic(err)
	}
	generate := scopes.All("image:generate")
	report := scopes.All(scopes.All("usage:read"), scopes.Any("report:day", "report:month"))

	fmt.Println(generate.Met(granted))
	fmt.Println(report, report.Met(granted), report.Missing(granted))
	// Output:
	// true
	// usage:read and (report:day or report:month) false [usage:read report:day]
}

// A wildcard stands for whole segments: one, or at the end one or more.
func ExampleSet_Has() {
	s, err := scopes.Of("image:*", "*:read")
	if err != nil {
		panic(err)
	}
	for _, scope := range []string{"image:edit", "image:edit:mask", "image", "usage:read", "usage:day:read", "image:*"} {
		fmt.Println(scope, s.Has(scope))
	}
	// Output:
	// image:edit true
	// image:edit:mask true
	// image false
	// usage:read true
	// usage:day:read false
	// image:* false
}

// Nobody can hand out what they do not hold.
func ExampleSet_Covers() {
	mine, _ := scopes.Parse("image:* usage:read")
	for _, text := range []string{"image:edit", "image:* usage:read", "usage:*", "*", ""} {
		theirs, err := scopes.Parse(text)
		if err != nil {
			panic(err)
		}
		fmt.Printf("%q %v\n", text, mine.Covers(theirs))
	}
	// Output:
	// "image:edit" true
	// "image:* usage:read" true
	// "usage:*" false
	// "*" false
	// "" true
}

// A set is one string in JSON, sorted.
func ExampleSet_MarshalText() {
	s, err := scopes.Of("usage:read", "image:*")
	if err != nil {
		panic(err)
	}
	data, err := json.Marshal(map[string]scopes.Set{"scope": s})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(data))
	// Output: {"scope":"image:* usage:read"}
}

// Every fault is named at once.
func ExampleParse_faults() {
	_, err := scopes.Parse("image:* img* usage::read")
	fmt.Println(err)
	// Output:
	// scopes.Parse: scope 2 ("img*") holds "*" inside a segment; "*" stands for a whole segment only
	// scopes.Parse: scope 3 ("usage::read") has an empty segment; put something on both sides of each ":"
}

// The mistake: an operation whose requirement was forgotten. It is closed to
// everybody, and Validate finds it when the program starts.
func ExampleRequirement_incorrect() {
	var forgotten scopes.Requirement
	everything, _ := scopes.Parse("*")
	fmt.Println(forgotten.Met(everything))
	fmt.Println(errors.MessageOf(forgotten.Validate()))
	// Output:
	// false
	// no requirement, which refuses every key; use None() to let any key pass
}

// A key that holds a retired scope keeps it; new grants are held to the registry
// and to the plan.
func ExampleRegistry() {
	registry, err := scopes.NewRegistry(
		scopes.Definition{Name: "models:read", Description: "List models"},
		scopes.Definition{Name: "image:generate", Description: "Create images"},
		scopes.Definition{Name: "image:upscale", Description: "Enlarge images", Plans: []string{"pro"}},
	)
	if err != nil {
		panic(err)
	}
	had, _ := scopes.Parse("chat:write image:*")
	want, _ := scopes.Parse("chat:write chat:read image:*")

	fmt.Println(errors.MessageOf(registry.CheckGrant(had, want)))
	fmt.Println(registry.Allowed("pro", had))
	fmt.Println(registry.Allowed("free", had))
	// Output:
	// "chat:read": not known and cannot be granted; choose defined scopes
	// chat:write image:*
	// chat:write image:generate
}
