package main

import (
	"testing"

	"github.com/keytoll/keytoll/examples/internal/recipetest"
)

func TestChi(t *testing.T) { recipetest.Check(t, newAPI) }
