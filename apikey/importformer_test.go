package apikey_test

import (
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// A former format may have environments that the present one lacks, or none.
func TestImportByTextOfAFormerFormat(t *testing.T) {
	stage := newFormat(t, "old", &apikey.FormatOptions{Environments: []string{"stage"}})
	bare := newFormat(t, "bare", nil)
	s := newService(t, apikey.NewMemoryStore(), sk(t, apikey.FormatOptions{}), &apikey.Options{Former: []*apikey.Format{stage, bare}})
	for text, environment := range map[string]string{generate(t, stage, "stage"): "stage", generate(t, bare, ""): ""} {
		row := apikey.ImportRow{Spec: apikey.Spec{Owner: "a"}, Text: apikey.NewSecret(text)}
		result := must(s.Import(t.Context(), []apikey.ImportRow{row}))(t)[0]
		if result.Err != nil || result.Key.Environment != environment {
			t.Errorf("%q: %+v", environment, result)
		}
		accepted(t, s, text)
		row.Spec.Environment = "live"
		if result := must(s.Import(t.Context(), []apikey.ImportRow{row}))(t)[0]; errors.CodeOf(result.Err) != errors.Invalid {
			t.Errorf("%q dressed as live: %+v", environment, result)
		}
	}
}

// What cannot be written as JSON would break every listing that it is in.
func TestImportRefusesTimesBeforeTheYearOne(t *testing.T) {
	s := newService(t, apikey.NewMemoryStore(), nil, nil)
	for _, at := range []time.Time{time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(-1<<60, 0)} {
		for _, row := range []apikey.ImportRow{{CreatedAt: at}, {LastUsedAt: at}} {
			row.Spec.Owner, row.Text = "a", apikey.NewSecret(generate(t, s.Format(), ""))
			if result := must(s.Import(t.Context(), []apikey.ImportRow{row}))(t)[0]; errors.CodeOf(result.Err) != errors.Invalid {
				t.Errorf("%v: %+v", at, result)
			}
		}
	}
}
