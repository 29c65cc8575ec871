// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bindings;

import java.util.List;

/**
 * What to look for, and where.
 *
 * @param name the library in words
 * @param fileNames versioned names, the preferred first
 * @param property system property that orders a place: files or folders, separated as in a path
 * @param variable environment variable that means the same
 * @param folders folders to look into when nothing is ordered; {@code *} stands for any part of one name, the highest
 *     first, and {@code $NAME} for an environment variable, without which the folder is left out
 * @param below folders to look into below each folder
 * @param bundle resources that hold the library and, before it, what it needs; empty if there are none
 * @param fix what to do where it is nowhere
 */
record LibrarySpec(String name, List<String> fileNames, String property, String variable, List<String> folders,
    List<String> below, List<String> bundle, String fix) {}
