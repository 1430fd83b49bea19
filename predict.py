"""Read a folder of images: python predict.py image_dir=demo checkpoint=best_accuracy.ckpt."""

if __name__ == "__main__":
    # Not above: worker processes import this file too, and need none of it.
    from hanline.commands.predict import main

    main()
