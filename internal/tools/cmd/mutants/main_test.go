package main

import "testing"

func TestCasesAreOpenedLineByLine(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"\tswitch {\n\tcase a && b: // why\n\t\tx()\n\tcase c, f(d, e):\n\tdefault:\n\t\ty()\n\t}\n", "\n\tif a && b { // why\n\t\tx()\n\t} else if (c) || (f(d, e)) {\n\t} else {\n\t\ty()\n\t}\n"},
		{"switch o := f(); {\ncase o == \":\":\n}\n", "\nif o := f(); o == \":\" {\n}\n"},
		{"switch {\ncase a:\n\tbreak\n}\n", "switch {\ncase a:\n\tbreak\n}\n"},
		{"switch a {\ncase b:\n}\n", "switch a {\ncase b:\n}\n"},
		{"switch {\ncase a:\n\tswitch {\n\tcase b:\n\t}\n}\n", "\nif a {\n\n\tif b {\n\t}\n}\n"},
	} {
		if got := openCases(c.text); got != c.want {
			t.Errorf("%q is opened to\n%q, want\n%q", c.text, got, c.want)
		}
	}
}
