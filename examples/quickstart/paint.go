package main

import (
	"bytes"
	"crypto/sha256"
	"image"
	"image/color"
	"image/png"
	"math"
)

const (
	side   = 192 // width and height of an image in pixels
	ridges = 3   // ranges of hills, the nearest last
)

// paint draws a small landscape that depends on nothing but the prompt, and
// returns it as PNG: a sky, a sun and three ranges of hills. It stands in for
// the model of a real image service.
func paint(prompt string) ([]byte, error) {
	seed := sha256.Sum256([]byte(prompt))
	unit := func(i int) float64 { return float64(seed[i]) / 255 }
	hue := unit(0)
	sunX, sunY, sunR := side*(0.2+0.6*unit(1)), side*(0.15+0.3*unit(2)), side*(0.07+0.08*unit(3))
	sun := shade(hue+0.5, 0.35, 1)
	var hills [ridges]color.RGBA
	var tops [ridges][side]float64
	for i := range ridges {
		hills[i] = shade(hue+0.08*float64(i+1), 0.55, 0.62-0.17*float64(i))
		waves, phase, height := 1.5+4*unit(4+i), 6*unit(8+i), side*(0.05+0.05*unit(12+i))
		for x := range side {
			tops[i][x] = side*(0.5+0.17*float64(i)) + height*math.Sin(math.Pi*waves*float64(x)/side+phase)
		}
	}
	img := image.NewRGBA(image.Rect(0, 0, side, side))
	for y := range side {
		sky := shade(hue, 0.45, 0.95-0.35*float64(y)/side)
		for x := range side {
			c := sky
			if dx, dy := float64(x)-sunX, float64(y)-sunY; dx*dx+dy*dy < sunR*sunR {
				c = sun
			}
			for i := range ridges {
				if float64(y) > tops[i][x] {
					c = hills[i]
				}
			}
			img.SetRGBA(x, y, c)
		}
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// shade converts hue, saturation and value, each counted from 0 to 1, to RGB.
func shade(h, s, v float64) color.RGBA {
	channel := func(n float64) uint8 {
		k := math.Mod(n+math.Mod(h, 1)*6, 6)
		return uint8(255 * (v - v*s*max(0, min(k, 4-k, 1))))
	}
	return color.RGBA{R: channel(5), G: channel(3), B: channel(1), A: 255}
}
