package management_test

import (
	"net/http"
	"testing"

	"github.com/keytoll/keytoll/apikey"
)

func TestAKeyIsMadeChangedAndEnded(t *testing.T) {
	d := open(t, &apikey.Options{Policy: plan}, nil)
	k := d.create(`{"name":"Production","environment":"live","scopes":["image:generate"],"settings":{"rpm":100},"networks":["10.0.0.0/8"],"expires_in_seconds":3600}`)
	if _, err := d.keys.Verify(t.Context(), k.Secret, &apikey.VerifyOptions{}); err == nil {
		t.Error("the networks are not kept")
	}
	if k.Key.Owner != "acme" || k.Key.Settings["rpm"] != 100 || k.Key.Status != "active" || !k.Key.ExpiresAt.Equal(d.clock.at.Add(3600e9)) {
		t.Errorf("made %+v", k.Key)
	}
	var got key
	d.do("PATCH", "/"+k.Key.ID, `{"name":"Prod","networks":[],"scopes":["image:generate","audio:read"]}`).into(http.StatusOK, &got)
	if got.Name != "Prod" || got.Networks != nil || len(got.Scopes) != 2 || got.Settings["rpm"] != 100 {
		t.Errorf("changed to %+v", got)
	}
	d.do("POST", "/"+k.Key.ID+"/disable", "").into(http.StatusOK, &got)
	if got.Status != "disabled" {
		t.Errorf("disabled is %q", got.Status)
	}
	d.do("POST", "/"+k.Key.ID+"/enable", "{}").into(http.StatusOK, &got)
	var next issued
	d.do("POST", "/"+k.Key.ID+"/rotate", `{"grace_seconds":60}`).into(http.StatusCreated, &next)
	if next.Key.Predecessor != k.Key.ID || !next.Previous.ExpiresAt.Equal(d.clock.at.Add(60e9)) || next.Secret == k.Secret {
		t.Errorf("rotated to %+v", next)
	}
	d.do("POST", "/"+k.Key.ID+"/rotate", ``).refused(http.StatusConflict, "already_rotated")
	d.do("POST", "/"+next.Key.ID+"/revoke", `{"reason":"leaked"}`).into(http.StatusOK, &got)
	if got.Status != "revoked" || got.RevokedReason != "leaked" {
		t.Errorf("revoked is %+v", got)
	}
	d.do("DELETE", "/"+next.Key.ID, "").refused(http.StatusBadRequest, "confirmation_required")
	d.do("DELETE", "/"+next.Key.ID+"?confirm=other", "").refused(http.StatusConflict, "confirmation_mismatch")
	d.do("DELETE", "/"+next.Key.ID+"?confirm=Prod", "").into(http.StatusNoContent, nil)
	var list struct{ Keys []key }
	d.do("GET", "", "").into(http.StatusOK, &list)
	if len(list.Keys) != 1 || list.Keys[0].ID != k.Key.ID {
		t.Errorf("listed %+v", list)
	}
}
